package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Optional;
import org.nanomodel.Format;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * One layout of the tensors of a quantized module: their names and shapes, from codes to tensors
 * and back, and what the layout can hold. Moving codes is native; a codec knows names, shapes, the
 * order of scales, and the mistakes of other programs. Which codec reads a checkpoint is decided by
 * its quantization config, never by a look at its tensors.
 */
public abstract sealed class Codec
    permits GptqCodec,
        GemmCodec,
        GemvCodec,
        GemvFastCodec,
        MarlinCodec,
        QqqCodec,
        CompressedCodec,
        MlxCodec {
  /** What the headers say of a module: its shape, and the scheme of its canonical form. */
  record Header(long n, long k, ModuleScheme scheme, DataType scaleType) {}

  /** The codec that writes a format. */
  public static Codec of(Format format) {
    return switch (format) {
      case GPTQ, GPTQ_V2 -> new GptqCodec(format);
      case GEMM -> new GemmCodec();
      case GEMV -> new GemvCodec();
      case GEMV_FAST -> new GemvFastCodec();
      case MARLIN -> new MarlinCodec();
      case QQQ -> new QqqCodec();
      case COMPRESSED_TENSORS -> new PackQuantizedCodec();
      case INT_QUANTIZED -> new IntQuantizedCodec();
      case MLX -> new MlxCodec();
    };
  }

  /** The codec that reads what a config describes; one that is not supported is refused by name. */
  static Codec of(QuantizationConfig config) {
    config.requireReadable();
    return of(config.layoutFormat());
  }

  /** What {@link #pack} writes. */
  public abstract Format format();

  /** Why no module of this scheme can be held, in one line; empty when its shape decides. */
  public abstract Optional<String> refusal(ModuleScheme scheme);

  /** Why a module W[n,k] cannot be held, in one line; the scheme is one that is not refused. */
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return Optional.empty();
  }

  /**
   * What may surprise other readers of a module, as the end of a sentence whose subject is modules.
   */
  public List<String> cautions(long n, long k, ModuleScheme scheme) {
    return List.of();
  }

  /** The type to round scales to, when a weight of this type is quantized. */
  public DataType scaleType(DataType weight, ModuleScheme scheme) {
    return DataType.F16;
  }

  /** The type in which scales that are stored in this type are written; another may not fit. */
  DataType keptScaleType(DataType stored, ModuleScheme scheme) {
    return scaleType(stored, scheme);
  }

  /** Names, types and shapes of what {@link #pack} makes of a weight [n, k]. */
  public abstract List<TensorSpec> specs(
      String module, long n, long k, ModuleScheme scheme, DataType scaleType);

  /**
   * The tensors of a module, in the order of {@link #specs}. A value that the layout cannot hold is
   * refused, naming the module.
   *
   * @param scaleType of the scales written, as the codec chose it
   */
  public abstract List<Tensor> pack(
      Arena arena,
      Ops ops,
      String module,
      StoredWeight weight,
      ModuleScheme scheme,
      DataType scaleType);

  /** The same for a weight that is nothing but canonical. */
  public final List<Tensor> pack(
      Arena arena,
      Ops ops,
      String module,
      QuantizedWeight weight,
      ModuleScheme scheme,
      DataType scaleType) {
    return pack(arena, ops, module, StoredWeight.of(weight), scheme, scaleType);
  }

  /** What a reader gets of a weight whose scales have the type of {@link #scaleType}. */
  public StoredWeight stored(Arena arena, QuantizedWeight weight, ModuleScheme scheme) {
    return StoredWeight.of(weight);
  }

  /** Modules as the subject of a sentence: one by name, and how many more. */
  public static String several(List<String> modules) {
    String more = modules.size() == 1 ? "" : " and " + (modules.size() - 1) + " more";
    return modules.getFirst() + more;
  }

  /** The last part of the name of a tensor that every module of this layout has, and no other. */
  abstract String mark();

  /** Reads the headers of a module; contradictions are a BadModelException. */
  abstract Header header(StoredTensors stored, QuantizationConfig config, String module);

  /** Reads a module; contradictions between its tensors and the config are a BadModelException. */
  abstract StoredWeight read(
      Arena arena, Ops ops, StoredTensors stored, QuantizationConfig config, String module);
}
