package org.nanomodel.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Any checkpoint to plain floats: integer weights become {@code s * (q - z)}, one float32
 * multiplication, then rounded once to the type asked for; other floats are converted; what is no
 * float is copied. Tensor by tensor, whatever the size of the model.
 */
public final class FloatConversion {
  private static final List<DataType> TARGETS = List.of(DataType.F32, DataType.F16, DataType.BF16);

  /** Elements that are converted at a time. */
  private static final long PIECE = 4L << 20;

  private final ModelDirectory source;
  private final Ops ops;
  private final DataType to;
  private boolean lossless = true;

  private FloatConversion(ModelDirectory source, Engine engine, DataType to) {
    this.source = source;
    this.ops = engine.ops();
    this.to = to;
  }

  /** Whether a conversion to this type exists. */
  public static boolean isTarget(DataType type) {
    return TARGETS.contains(type);
  }

  /**
   * Converts {@code source} into a new directory; something else there is refused unless {@code
   * overwrite}.
   */
  public static ConversionResult convert(
      ModelDirectory source,
      Engine engine,
      DataType to,
      Path output,
      long maxShardBytes,
      boolean overwrite,
      BooleanSupplier cancelled) {
    if (!isTarget(to)) {
      throw new NanoModelException("cannot convert to " + to + ": expected one of " + TARGETS);
    }
    source.requireReadable();
    var target = OutputDirectory.of(output, source);
    if (!overwrite) {
      target.requireFree();
    }
    return new FloatConversion(source, engine, to).write(target, maxShardBytes, cancelled);
  }

  private ConversionResult write(
      OutputDirectory target, long maxShardBytes, BooleanSupplier cancelled) {
    var entries = entries();
    target.requireSpace(entries.stream().mapToLong(entry -> entry.spec().byteSize()).sum());
    var config = source.configJson();
    config.remove("quantization_config");
    config.remove("quantization");
    config.put(
        config.has("torch_dtype") && !config.has("dtype") ? "torch_dtype" : "dtype", torchName(to));
    Path staging = target.temporary();
    try {
      long bytes =
          CheckpointWriter.write(
              staging, source, entries, config, Optional.empty(), maxShardBytes, cancelled);
      AdapterDirectory.copy(source.path(), staging);
      target.publish(staging);
      return new ConversionResult(from(), torchName(to), bytes, lossless, List.of());
    } finally {
      DurableFiles.deleteTree(staging);
    }
  }

  private String from() {
    var config = source.configJson();
    return source
        .quantization()
        .map(QuantizationConfig::format)
        .orElse(config.path("dtype").asText(config.path("torch_dtype").asText("float")));
  }

  private List<CheckpointWriter.Entry> entries() {
    Set<String> quantized = new HashSet<>(source.quantizedModules());
    var entries = new ArrayList<CheckpointWriter.Entry>();
    for (TensorInfo tensor : source.tensors()) {
      String name = tensor.name();
      int dot = name.lastIndexOf('.');
      String module = dot < 0 ? "" : name.substring(0, dot);
      boolean part = quantized.contains(module) && !name.endsWith(".bias");
      if (part && source.isMark(name)) {
        entries.add(dequantized(module, source.rows(module), source.columns(module)));
      } else if (!part) {
        entries.add(converted(tensor));
      }
    }
    return entries;
  }

  private CheckpointWriter.Entry dequantized(String module, long n, long k) {
    boolean transposed = source.isTransposed(module);
    long[] shape = transposed ? new long[] {k, n} : new long[] {n, k};
    var spec = new TensorSpec(module + ".weight", DType.valueOf(to.name()), shape);
    return new CheckpointWriter.Entry(
        spec,
        out -> {
          try (var scratch = Arena.ofConfined()) {
            Tensor f32 = source.stored(scratch, module).floats(scratch, ops);
            writeRounded(transposed ? f32.transposed(scratch) : f32, out);
          }
        });
  }

  private CheckpointWriter.Entry converted(TensorInfo tensor) {
    Optional<DataType> type = DataType.ofName(tensor.dtype().name());
    if (type.isEmpty() || !type.get().isFloat() || type.get() == to) {
      return CheckpointWriter.Entry.copy(source, tensor);
    }
    var spec = new TensorSpec(tensor.name(), DType.valueOf(to.name()), tensor.shape());
    return new CheckpointWriter.Entry(spec, out -> writeRounded(source.tensor(tensor.name()), out));
  }

  /**
   * Writes a tensor in the type asked for, piece by piece; notes whether every value is exact in
   * it.
   */
  private void writeRounded(Tensor tensor, WritableByteChannel out) throws IOException {
    long bytes = tensor.type().bytes();
    for (long at = 0; at < tensor.count(); at += PIECE) {
      long n = Math.min(PIECE, tensor.count() - at);
      try (var scratch = Arena.ofConfined()) {
        MemorySegment stored = tensor.segment().asSlice(at * bytes, n * bytes);
        Tensor in = StoredTensors.aligned(scratch, Tensor.of(tensor.type(), stored, n));
        CheckpointWriter.writeInPieces(rounded(scratch, in).segment(), out);
        MappedPages.release(stored);
      }
    }
  }

  private Tensor rounded(Arena scratch, Tensor in) {
    if (in.type() == to) {
      return in;
    }
    Tensor out = Tensor.allocate(scratch, to, in.count());
    ops.convert(out, in);
    lossless = lossless && isExact(scratch, in, out);
    return out;
  }

  private boolean isExact(Arena scratch, Tensor in, Tensor out) {
    MemorySegment back = widened(scratch, out).segment();
    if (in.type() != DataType.F64) {
      return widened(scratch, in).segment().mismatch(back) == -1;
    }
    for (long i = 0; i < in.count(); i++) {
      double d = in.segment().get(ValueLayout.JAVA_DOUBLE_UNALIGNED, 8 * i);
      if (d != back.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i)) {
        return false;
      }
    }
    return true;
  }

  private Tensor widened(Arena scratch, Tensor t) {
    if (t.type() == DataType.F32) {
      return t;
    }
    Tensor f32 = Tensor.allocate(scratch, DataType.F32, t.count());
    ops.convert(f32, t);
    return f32;
  }

  private static String torchName(DataType type) {
    return switch (type) {
      case F32 -> "float32";
      case F16 -> "float16";
      default -> "bfloat16";
    };
  }
}
