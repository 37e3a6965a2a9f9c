package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModelException;
import org.nanomodel.json.JsonFile;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.ShardedWriter;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;

/**
 * Writes a whole checkpoint: weights, tokenizer files of the source, quantize_config.json,
 * config.json. One tensor is in memory at a time. config.json comes last, so that a directory that
 * has it is complete.
 */
public final class CheckpointWriter {
  /** Above this, the weights are cut into shards. */
  public static final long DEFAULT_SHARD_BYTES = 5_000_000_000L;

  private static final long PIECE_BYTES = 8L << 20;

  /** What stands beside the weights of a model and belongs to it whatever their format. */
  private static final List<String> SIDE_FILES =
      List.of(
          "generation_config.json",
          "tokenizer.json",
          "tokenizer_config.json",
          "tokenizer.model",
          "special_tokens_map.json",
          "added_tokens.json",
          "vocab.json",
          "vocab.txt",
          "merges.txt",
          "spiece.model",
          "chat_template.jinja",
          "chat_template.json",
          "LICENSE",
          "LICENSE.txt",
          "NOTICE");

  /** Writes a tensor's bytes when its turn comes. */
  public interface Content {
    void writeTo(WritableByteChannel out) throws IOException;
  }

  /** A tensor to be. */
  public record Entry(TensorSpec spec, Content content) {
    /** A tensor whose bytes are at hand, or mapped. */
    public static Entry of(TensorSpec spec, Supplier<MemorySegment> bytes) {
      return new Entry(spec, out -> writeInPieces(bytes.get(), out));
    }

    /** A tensor copied from the source as it is. */
    public static Entry copy(ModelDirectory source, TensorInfo tensor) {
      var spec = new TensorSpec(tensor.name(), tensor.dtype(), tensor.shape());
      return of(spec, () -> source.bytes(tensor.name()));
    }
  }

  private CheckpointWriter() {}

  /**
   * Writes into a directory that nobody reads yet.
   *
   * @param quantization for quantize_config.json; config is expected to hold it already
   * @param cancelled asked between tensors
   * @return bytes of the tensors
   */
  public static long write(
      Path directory,
      ModelDirectory source,
      List<Entry> entries,
      ObjectNode config,
      Optional<ObjectNode> quantization,
      long maxShardBytes,
      BooleanSupplier cancelled) {
    try {
      Files.createDirectories(directory);
    } catch (IOException e) {
      throw DurableFiles.failed("create", directory, e);
    }
    long bytes = writeTensors(directory, entries, maxShardBytes, cancelled);
    for (Path file : sideFiles(source.path())) {
      DurableFiles.copy(file, directory.resolve(file.getFileName()));
    }
    quantization.ifPresent(q -> writeJson(directory.resolve("quantize_config.json"), q));
    writeJson(directory.resolve("config.json"), config);
    return bytes;
  }

  private static long writeTensors(
      Path directory, List<Entry> entries, long maxShardBytes, BooleanSupplier cancelled) {
    var plan = entries.stream().map(Entry::spec).toList();
    try (var writer = ShardedWriter.create(directory, plan, maxShardBytes)) {
      for (Entry entry : entries) {
        if (cancelled.getAsBoolean()) {
          throw new CancelledException("cancelled while writing " + directory);
        }
        writer.put(entry.spec().name(), entry.content()::writeTo);
      }
      writer.finish();
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage(), e);
    }
    return plan.stream().mapToLong(TensorSpec::byteSize).sum();
  }

  /**
   * Gives the pages of a mapped source back piece by piece, so that a large tensor is never
   * resident as a whole.
   */
  static void writeInPieces(MemorySegment data, WritableByteChannel out) throws IOException {
    for (long at = 0; at < data.byteSize(); at += PIECE_BYTES) {
      MemorySegment piece = data.asSlice(at, Math.min(PIECE_BYTES, data.byteSize() - at));
      var buffer = piece.asByteBuffer();
      while (buffer.hasRemaining()) {
        out.write(buffer);
      }
      MappedPages.release(piece);
    }
  }

  /** The files of a model directory that go with the model into every format. */
  public static List<Path> sideFiles(Path directory) {
    var found = new ArrayList<Path>();
    for (String name : SIDE_FILES) {
      Path file = directory.resolve(name);
      if (Files.isRegularFile(file)) {
        found.add(file);
      }
    }
    return found;
  }

  private static void writeJson(Path file, ObjectNode json) {
    DurableFiles.write(file, JsonFile.print(json).getBytes(StandardCharsets.UTF_8));
  }
}
