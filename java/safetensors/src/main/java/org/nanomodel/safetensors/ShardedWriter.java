package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * Writes a model of any size into a folder: {@code model.safetensors} if it fits one file, else
 * {@code model-00001-of-0000N.safetensors} and so on and {@code model.safetensors.index.json}, as
 * Hugging Face's libraries do. Like {@link SafetensorsWriter} it takes the plan first, then each
 * tensor once, in any order, by any thread. Tensors are given to shards in the plan's order.
 *
 * <p>All shards are complete on the disk before {@link #finish} gives the first its name, and the
 * index comes last, so that an index means a complete model. Before the first rename finish removes
 * an old index; after the last one it removes the entry file of the other kind (an old single file
 * beside a new index, or the reverse), which readers could take for the model. Other old shards
 * stay.
 */
public final class ShardedWriter implements AutoCloseable {
  /** The file of a model that fits one. */
  static final String SINGLE = "model.safetensors";

  /** The table of contents of a sharded model. */
  static final String INDEX = "model.safetensors.index.json";

  /** Shards are numbered with five digits. */
  private static final int MAX_SHARDS = 99_999;

  private final Path folder;
  private final List<Shard> shards;
  private final Map<String, Shard> shardOf = new HashMap<>();
  private final long totalBytes;
  private boolean ended;

  /** One file to be; its writer exists from the first put on. */
  private static final class Shard {
    final Path target;
    final Layout layout;
    private SafetensorsWriter writer;

    Shard(Path target, Layout layout) {
      this.target = target;
      this.layout = layout;
    }

    synchronized SafetensorsWriter writer() {
      if (writer == null) {
        writer = SafetensorsWriter.create(target, layout);
      }
      return writer;
    }

    synchronized boolean isOpen() {
      return writer != null;
    }
  }

  private ShardedWriter(Path folder, List<Shard> shards) {
    this.folder = folder;
    this.shards = shards;
    long total = 0;
    for (Shard shard : shards) {
      for (TensorInfo info : shard.layout.tensors()) {
        shardOf.put(info.name(), shard);
        total += info.byteSize();
      }
    }
    totalBytes = total;
  }

  /**
   * Starts a model with the metadata {@code {"format": "pt"}}.
   *
   * @param folder made if it does not exist
   * @param plan all tensors
   * @param maxShardBytes most bytes of tensor data in a file, above 0; a larger tensor gets a file
   *     of its own
   * @return an open writer
   * @throws SafetensorsException if the plan is not allowed or the folder cannot be made
   */
  public static ShardedWriter create(Path folder, Collection<TensorSpec> plan, long maxShardBytes) {
    return create(folder, plan, maxShardBytes, SafetensorsWriter.DEFAULT_METADATA);
  }

  /**
   * Starts a model.
   *
   * @param folder made if it does not exist
   * @param plan all tensors
   * @param maxShardBytes most bytes of tensor data in a file, above 0; a larger tensor gets a file
   *     of its own
   * @param metadata every file's {@code __metadata__}, left out if empty
   * @return an open writer
   * @throws SafetensorsException if the plan is not allowed, the folder cannot be made, or the disk
   *     has too little room
   */
  public static ShardedWriter create(
      Path folder, Collection<TensorSpec> plan, long maxShardBytes, Map<String, String> metadata) {
    List<List<TensorSpec>> parts = split(folder, plan, maxShardBytes);
    List<Shard> shards = new ArrayList<>(parts.size());
    long fileBytes = 0;
    for (int i = 0; i < parts.size(); i++) {
      Path target = folder.resolve(shardName(i + 1, parts.size()));
      Shard shard = new Shard(target, Layout.of(target, parts.get(i), metadata));
      fileBytes += shard.layout.fileBytes();
      shards.add(shard);
    }
    try {
      Files.createDirectories(folder);
      SafetensorsWriter.checkSpace(folder.resolve(INDEX), fileBytes);
    } catch (IOException e) {
      throw SafetensorsException.io(folder, "create", e);
    }
    return new ShardedWriter(folder, shards);
  }

  private static String shardName(int number, int count) {
    return count == 1
        ? SINGLE
        : String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", number, count);
  }

  private static List<List<TensorSpec>> split(
      Path folder, Collection<TensorSpec> plan, long maxShardBytes) {
    if (maxShardBytes <= 0) {
      throw new SafetensorsException(
          folder, "maxShardBytes", Long.toString(maxShardBytes), "more than 0");
    }
    Set<String> names = HashSet.newHashSet(plan.size());
    List<List<TensorSpec>> parts = new ArrayList<>();
    parts.add(new ArrayList<>());
    long bytes = 0;
    for (TensorSpec spec : plan) {
      if (!names.add(spec.name())) {
        throw new SafetensorsException(folder, quoteTensor(spec.name()), "planned twice", "once");
      }
      long size = spec.byteSize();
      if (!parts.getLast().isEmpty() && size > maxShardBytes - bytes) {
        parts.add(new ArrayList<>());
        bytes = 0;
      }
      parts.getLast().add(spec);
      bytes += size;
    }
    if (parts.size() > MAX_SHARDS) {
      throw new SafetensorsException(
          folder, "maxShardBytes", parts.size() + " files", "at most " + MAX_SHARDS + " files");
    }
    return parts;
  }

  /**
   * The files of tensors to be.
   *
   * @return in the order of their numbers, without the index
   */
  public List<Path> files() {
    return shards.stream().map(shard -> shard.target).toList();
  }

  /**
   * Writes a tensor.
   *
   * @param name a planned tensor that was not put before
   * @param data exactly its bytes, little-endian; native or heap
   * @throws SafetensorsException if the name or size is not the plan's, or the write fails; the
   *     model can then no longer be finished
   * @throws IllegalStateException after finish or close
   */
  public void put(String name, MemorySegment data) {
    SafetensorsWriter writer = writer(name);
    writer.put(name, data);
    sealIfComplete(writer);
  }

  /**
   * Writes a tensor from a callback, which runs at once, on this thread.
   *
   * @param name a planned tensor that was not put before
   * @param data writes exactly the tensor's bytes, little-endian
   * @throws SafetensorsException if the name or size is not the plan's, or the write fails; the
   *     model can then no longer be finished
   * @throws IllegalStateException after finish or close
   */
  public void put(String name, SafetensorsWriter.TensorData data) {
    SafetensorsWriter writer = writer(name);
    writer.put(name, data);
    sealIfComplete(writer);
  }

  private SafetensorsWriter writer(String name) {
    Shard shard = shardOf.get(name);
    if (shard == null) {
      throw new SafetensorsException(folder, quoteTensor(name), "a put", "a tensor of the plan");
    }
    synchronized (this) {
      if (ended) {
        throw new IllegalStateException("the writer is finished or closed");
      }
      return shard.writer();
    }
  }

  /** A complete shard goes to the disk at once and gives its file handle back. */
  private void sealIfComplete(SafetensorsWriter writer) {
    synchronized (writer) {
      if (writer.isComplete() && !writer.isSealed()) {
        writer.seal();
      }
    }
  }

  /**
   * Makes the model appear: shards first, index last.
   *
   * @throws SafetensorsException if a tensor is missing or failed, or the disk does
   * @throws IllegalStateException if called twice or after close
   */
  public synchronized void finish() {
    if (ended) {
      throw new IllegalStateException("the writer is finished or closed");
    }
    for (Shard shard : shards) {
      SafetensorsWriter writer = shard.writer();
      if (!writer.isSealed()) {
        writer.seal(); // an empty plan, or it says what is missing
      }
    }
    ended = true;
    try {
      if (shards.size() == 1) {
        shards.getFirst().writer().commit();
        remove(INDEX);
      } else {
        remove(INDEX);
        for (Shard shard : shards) {
          shard.writer().commit();
        }
        writeIndex();
        remove(SINGLE);
      }
    } catch (IOException e) {
      throw SafetensorsException.io(folder, "finish the model in", e);
    }
  }

  private void writeIndex() throws IOException {
    Map<String, String> files = HashMap.newHashMap(shardOf.size());
    shardOf.forEach((name, shard) -> files.put(name, shard.target.getFileName().toString()));
    try (AtomicFile file = AtomicFile.create(folder.resolve(INDEX))) {
      Bytes.writeFully(MemorySegment.ofArray(ShardIndex.json(totalBytes, files)), file.channel());
      file.seal();
      file.commit();
    }
  }

  private void remove(String name) throws IOException {
    Path file = folder.resolve(name);
    if (Files.deleteIfExists(file)) {
      AtomicFile.forceFolder(file);
    }
  }

  /**
   * Ends the writing. Without a finish before, the temporary files are removed and nothing has
   * changed. Closing again does nothing.
   */
  @Override
  public synchronized void close() {
    ended = true;
    RuntimeException failure = null;
    for (Shard shard : shards) {
      try {
        if (shard.isOpen()) {
          shard.writer().close();
        }
      } catch (RuntimeException e) {
        failure = e;
      }
    }
    if (failure != null) {
      throw failure;
    }
  }
}
