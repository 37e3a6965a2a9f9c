package org.nanomodel.checkpoint;

import java.io.IOException;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import org.nanomodel.NanoModelException;

/**
 * Where a checkpoint is to appear. It is written under another name beside it and renamed when it
 * is whole. In a directory that is in use already, only the files of a checkpoint are replaced,
 * config.json last.
 */
public final class OutputDirectory {
  private final Path path;

  private OutputDirectory(Path path) {
    this.path = path;
  }

  /** Refuses an output that is the source, lies in it, or cannot be a directory. */
  public static OutputDirectory of(Path output, ModelDirectory source) {
    Path absolute = output.toAbsolutePath().normalize();
    if (absolute.getParent() == null) {
      throw new NanoModelException(
          "output " + output + " is a root directory: name a directory in it");
    }
    if (Files.exists(absolute) && !Files.isDirectory(absolute)) {
      throw new NanoModelException(
          "output " + output + " is a file: expected a directory to be made");
    }
    Path real = real(absolute);
    if (real.equals(real(source.path()))) {
      throw new NanoModelException(
          "output " + output + " is the model that is read: choose another directory");
    }
    return new OutputDirectory(absolute);
  }

  /** The path with links followed as far as it exists. */
  private static Path real(Path path) {
    try {
      Path absolute = path.toAbsolutePath().normalize();
      if (Files.exists(absolute)) {
        return absolute.toRealPath();
      }
      Path parent = absolute.getParent();
      return parent == null ? absolute : real(parent).resolve(absolute.getFileName());
    } catch (IOException e) {
      throw DurableFiles.failed("resolve", path, e);
    }
  }

  public Path path() {
    return path;
  }

  /** A directory beside the output, named after it. */
  public Path beside(String suffix) {
    return path.resolveSibling(path.getFileName() + suffix);
  }

  /** Whether anything lies there. */
  public boolean isOccupied() {
    if (!Files.isDirectory(path)) {
      return false;
    }
    try (var files = Files.list(path)) {
      return files.findAny().isPresent();
    } catch (IOException e) {
      throw DurableFiles.failed("read", path, e);
    }
  }

  /** Refuses an output where something lies. */
  public void requireFree() {
    if (isOccupied()) {
      throw new NanoModelException(
          "output "
              + path
              + " is not empty: choose another directory, or allow it to be overwritten");
    }
  }

  /**
   * Makes the directory above the output, and checks that the disk has room for so many bytes more.
   */
  public void requireSpace(long bytes) {
    try {
      Files.createDirectories(path.getParent());
      if (!Files.isWritable(path.getParent())) {
        throw new NanoModelException("directory " + path.getParent() + " is not writable");
      }
      long usable = Files.getFileStore(path.getParent()).getUsableSpace();
      if (usable > 0 && usable < bytes) { // some network file systems say 0
        throw new NanoModelException(
            "disk of "
                + path.getParent()
                + " has "
                + usable
                + " bytes free, "
                + bytes
                + " are needed");
      }
    } catch (IOException e) {
      throw DurableFiles.failed("create", path.getParent(), e);
    }
  }

  /** Gives a complete checkpoint its place. */
  public void publish(Path complete) {
    try {
      DurableFiles.forceFolder(complete);
      if (!isOccupied() && renamed(complete)) {
        DurableFiles.forceFolder(path.getParent());
        return;
      }
      replaceFiles(complete);
    } catch (IOException e) {
      throw DurableFiles.failed("write", path, e);
    }
  }

  private boolean renamed(Path complete) throws IOException {
    try {
      if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
        Files.delete(path);
      }
      Files.move(complete, path, StandardCopyOption.ATOMIC_MOVE);
      return true;
    } catch (AtomicMoveNotSupportedException e) {
      return false;
    } catch (IOException e) {
      if (!Files.isDirectory(path)) {
        Files.createDirectories(path);
      }
      return false; // a mount point or a link stays; its files are moved one by one
    }
  }

  private void replaceFiles(Path complete) throws IOException {
    for (Path old : checkpointFiles()) {
      Files.delete(old);
    }
    AdapterDirectory.delete(path);
    DurableFiles.forceFolder(path);
    moveAll(complete, path);
    DurableFiles.deleteTree(complete);
  }

  private static void moveAll(Path from, Path to) throws IOException {
    List<Path> files;
    try (var list = Files.list(from)) {
      files =
          list.sorted(Comparator.comparing(OutputDirectory::isConfig).thenComparing(p -> p))
              .toList();
    }
    for (Path file : files) {
      Path target = to.resolve(file.getFileName());
      if (Files.isDirectory(file)) { // of an adapter
        Files.createDirectories(target);
        moveAll(file, target);
        continue;
      }
      try {
        Files.move(
            file, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      } catch (AtomicMoveNotSupportedException e) {
        DurableFiles.copy(file, target);
      }
    }
    DurableFiles.forceFolder(to);
  }

  /** What makes a directory a checkpoint, config.json first: without it the rest is no model. */
  private List<Path> checkpointFiles() throws IOException {
    try (var list = Files.list(path)) {
      var files =
          new ArrayList<>(
              list.filter(Files::isRegularFile)
                  .filter(file -> isConfig(file) || isWeights(file.getFileName().toString()))
                  .toList());
      files.sort(Comparator.comparing(file -> !isConfig(file)));
      return files;
    }
  }

  private static boolean isConfig(Path file) {
    return file.getFileName().toString().equals("config.json");
  }

  private static boolean isWeights(String name) {
    return name.startsWith("model")
            && (name.endsWith(".safetensors") || name.endsWith(".safetensors.index.json"))
        || name.equals("quantize_config.json")
        || name.equals("quant_config.json")
        || name.equals("quant_log.csv")
        || name.equals("quantize_job.json");
  }

  /** Names of temporary siblings are unlike those of other processes and earlier runs. */
  public Path temporary() {
    return beside(
        String.format(
            ".tmp-%d-%08x", ProcessHandle.current().pid(), ThreadLocalRandom.current().nextInt()));
  }
}
