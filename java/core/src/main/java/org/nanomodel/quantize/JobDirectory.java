package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.json.JsonFile;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.Tensor;

/**
 * What a job under way keeps on the disk: {@code job.json}, the fingerprint; for each finished
 * layer a safetensors file and, written after it, a JSON file with its checksum and results; {@code
 * lock}, held by the process at work and let go by the system when that dies. A layer counts only
 * if its checksum is right.
 */
final class JobDirectory implements AutoCloseable {
  private final Path path;
  private final FileChannel lockFile;
  private final FileLock lock;

  private JobDirectory(Path path, FileChannel lockFile, FileLock lock) {
    this.path = path;
    this.lockFile = lockFile;
    this.lock = lock;
  }

  /**
   * Makes or takes up a job; one of another fingerprint is refused, or begun anew with {@code
   * restart}.
   */
  static JobDirectory open(Path path, Fingerprint fingerprint, boolean restart) {
    var job = locked(path);
    try {
      job.matchOrBegin(fingerprint, restart);
      return job;
    } catch (RuntimeException e) {
      job.close();
      throw e;
    }
  }

  private static JobDirectory locked(Path path) {
    Path file = path.resolve("lock");
    try {
      Files.createDirectories(path);
      var channel =
          FileChannel.open(
              file, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
      FileLock lock = tryLock(channel);
      if (lock == null) {
        String owner = Files.readString(file).strip();
        channel.close();
        throw new NanoModelException(
            "job "
                + path
                + " is being worked on by another process"
                + (owner.matches("[0-9]+") ? ", pid " + owner : "")
                + ": wait for it or end it");
      }
      channel.truncate(0);
      channel.write(
          ByteBuffer.wrap(
              Long.toString(ProcessHandle.current().pid()).getBytes(StandardCharsets.US_ASCII)));
      return new JobDirectory(path, channel, lock);
    } catch (IOException e) {
      throw DurableFiles.failed("lock", file, e);
    }
  }

  private static FileLock tryLock(FileChannel channel) throws IOException {
    try {
      return channel.tryLock();
    } catch (OverlappingFileLockException e) { // held by this very process
      return null;
    }
  }

  private void matchOrBegin(Fingerprint fingerprint, boolean restart) {
    Path file = path.resolve("job.json");
    if (Files.exists(file) && !restart) {
      var difference = fingerprint.differenceFrom(storedFingerprint(file));
      if (difference.isPresent()) {
        throw new NanoModelException(
            "job "
                + path
                + " was begun with something else: "
                + difference.get()
                + "; put that back, or restart the job");
      }
      contents().stream().filter(JobDirectory::isLeftover).forEach(DurableFiles::deleteTree);
      return;
    }
    for (Path old : contents()) {
      DurableFiles.deleteTree(old);
    }
    writeJson(file, fingerprint.toJson());
  }

  private static JsonNode storedFingerprint(Path file) {
    try {
      return JsonFile.read(file);
    } catch (BadModelException e) {
      throw new NanoModelException(e.getMessage() + "; restart the job", e);
    }
  }

  private List<Path> contents() {
    try (var files = Files.list(path)) {
      return files.filter(file -> !file.getFileName().toString().equals("lock")).toList();
    } catch (IOException e) {
      throw DurableFiles.failed("read", path, e);
    }
  }

  /** What a process that was killed had not given its name yet. */
  private static boolean isLeftover(Path file) {
    String name = file.getFileName().toString();
    return name.contains(".tmp-") || name.startsWith("states-") || name.equals("checkpoint");
  }

  /** Where the tensors of a layer are, once it is finished. */
  Path tensors(int layer) {
    return path.resolve(String.format("layer-%05d.safetensors", layer));
  }

  /** For files without a name that live no longer than the process. */
  Path folder() {
    return path;
  }

  private Path record(int layer) {
    return path.resolve(String.format("layer-%05d.json", layer));
  }

  /** Where the checkpoint is put together. */
  Path staging() {
    return path.resolve("checkpoint");
  }

  /** The results of a layer, if it is finished and unharmed. */
  Optional<List<ModuleResult>> finished(int layer) {
    if (!Files.exists(record(layer)) || !Files.exists(tensors(layer))) {
      return Optional.empty();
    }
    try {
      var json = JsonFile.read(record(layer));
      if (!DurableFiles.sha256(tensors(layer)).equals(json.path("sha256").asText())) {
        return Optional.empty();
      }
      var modules = new ArrayList<ModuleResult>();
      json.path("modules").forEach(module -> modules.add(ModuleResult.of(module)));
      return Optional.of(modules);
    } catch (BadModelException e) {
      return Optional.empty();
    }
  }

  /** Puts a layer on the disk, tensors first. */
  void finish(int layer, Map<TensorSpec, Tensor> tensors, List<ModuleResult> modules) {
    try {
      Files.deleteIfExists(record(layer));
      try (var writer = SafetensorsWriter.create(tensors(layer), tensors.keySet())) {
        for (var entry : tensors.entrySet()) {
          MemorySegment bytes = entry.getValue().segment().asSlice(0, entry.getKey().byteSize());
          writer.put(entry.getKey().name(), bytes);
        }
        writer.finish();
      }
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage(), e);
    } catch (IOException e) {
      throw DurableFiles.failed("write", record(layer), e);
    }
    var json = JsonFile.object().put("sha256", DurableFiles.sha256(tensors(layer)));
    var rows = json.putArray("modules");
    modules.forEach(module -> rows.add(module.toJson()));
    writeJson(record(layer), json);
  }

  /** Bytes of what is there already. */
  long bytes() {
    long bytes = 0;
    for (Path file : contents()) {
      try {
        bytes += Files.isRegularFile(file) ? Files.size(file) : 0;
      } catch (IOException e) {
        throw DurableFiles.failed("read", file, e);
      }
    }
    return bytes;
  }

  private static void writeJson(Path file, JsonNode json) {
    DurableFiles.write(file, JsonFile.print(json).getBytes(StandardCharsets.UTF_8));
  }

  /** Ends the job: its directory is removed. */
  void discard() {
    contents().forEach(DurableFiles::deleteTree);
    close();
    DurableFiles.deleteTree(path);
  }

  /** Removes what a finished job left behind, unless someone works on it. */
  static void discardLeftover(Path path) {
    if (Files.isDirectory(path)) {
      try {
        locked(path).discard();
      } catch (NanoModelException e) { // who works on it will clear it away
        System.getLogger(JobDirectory.class.getName())
            .log(System.Logger.Level.DEBUG, e.getMessage());
      }
    }
  }

  @Override
  public void close() {
    try {
      if (lock.isValid()) {
        lock.release();
      }
      lockFile.close();
    } catch (IOException e) {
      throw DurableFiles.failed("unlock", path, e);
    }
  }
}
