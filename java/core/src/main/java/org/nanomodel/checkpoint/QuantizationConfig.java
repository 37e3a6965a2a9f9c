package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.BadModelException;
import org.nanomodel.Format;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;
import org.nanomodel.json.JsonFile;
import org.nanomodel.ops.GptqLayout;
import org.nanomodel.tensor.DataType;

/**
 * What a checkpoint says about its quantization: one object that stands, equal, in {@code
 * quantize_config.json} and under {@code quantization_config} in {@code config.json}. Keys keep the
 * ecosystem's names; older spellings are understood. An object of a kind that this version cannot
 * decode is held too, so that it can be shown; asking it for a module's scheme is refused by name.
 */
public final class QuantizationConfig {
  /** The decodable kinds of {@code pack_dtype}: what the streams of codes are cut into. */
  private static final Map<String, DataType> PACK_DTYPES =
      Map.of("int32", DataType.I32, "int16", DataType.I16, "int8", DataType.I8);

  private static final String PACK_DTYPE = "int32";
  private static final String PLANAR = "gptq_p";

  /** Old checkpoints name the format of a GPTQ quantization as its method. */
  private static final Set<String> FORMATS_NAMED_AS_METHOD = Set.of("marlin", "bitblas");

  private final String source;
  private final ObjectNode json;
  private final String method;
  private final String format;
  private final String packDtype;
  private final Optional<Format> layout;
  private final CompressedGroups groups;
  private final ModuleScheme defaults;
  private final boolean lmHead;
  private final DynamicOverrides dynamic;
  private final List<String> quantizers;

  private QuantizationConfig(ObjectNode json, String source, boolean mlx) {
    this.source = source;
    this.json = json;
    var fields = JsonFields.of(source, json);
    String named =
        json.has("symmetric") ? "nanoptq" : lower(fields.text("quant_method", "method").orElse(""));
    String format = lower(fields.text("checkpoint_format", "format", "version").orElse(""));
    boolean formatAsMethod = FORMATS_NAMED_AS_METHOD.contains(named);
    this.method =
        named.isEmpty() ? (mlx ? "mlx" : guessMethod(json)) : formatAsMethod ? "gptq" : named;
    this.format = format(format, formatAsMethod ? named : "", fields);
    this.packDtype = lower(fields.text("pack_dtype").orElse(PACK_DTYPE));
    this.layout = layout(method, format());
    boolean known = layout.isPresent();
    this.groups = isCompressed() && known ? CompressedGroups.parse(json, format, source) : null;
    this.lmHead = known && fields.bool("lm_head", false);
    this.dynamic =
        known && !isCompressed() && !isMlx()
            ? DynamicOverrides.parse(json.get("dynamic"), source)
            : DynamicOverrides.NONE;
    this.defaults = known && unsupported().isEmpty() ? defaults(fields) : null;
    this.quantizers = quantizers(json);
  }

  /** Reads the object; {@code source} names the file in errors. */
  public static QuantizationConfig parse(ObjectNode json, String source) {
    return new QuantizationConfig(json.deepCopy(), source, false);
  }

  /**
   * Looks in {@code quantize_config.json}, {@code quant_config.json} and the {@code
   * quantization_config} of {@code config.json}, in this order; empty for a float model.
   */
  static Optional<QuantizationConfig> find(Path directory, ObjectNode config) {
    for (String name : List.of("quantize_config.json", "quant_config.json")) {
      var json = JsonFile.readIfPresent(directory.resolve(name));
      if (json.isPresent()) {
        return Optional.of(
            new QuantizationConfig(json.get(), directory.resolve(name).toString(), false));
      }
    }
    for (String key : List.of("quantization_config", "quantization")) { // MLX has both, or the last
      if (config.hasNonNull(key)) {
        String source = directory.resolve("config.json") + ": " + key;
        if (config.get(key) instanceof ObjectNode object) {
          return Optional.of(
              new QuantizationConfig(object, source, config.hasNonNull("quantization")));
        }
        throw new BadModelException(source + " is not an object");
      }
    }
    return Optional.empty();
  }

  /** The codec's format for what a file says; empty for what this version does not decode. */
  private static Optional<Format> layout(String method, String format) {
    return Optional.ofNullable(
        switch (method + " " + format) {
          case "gptq gptq" -> Format.GPTQ;
          case "gptq gptq_v2", "gptq " + PLANAR -> Format.GPTQ_V2;
          case "gptq marlin" -> Format.MARLIN;
          case "awq gemm" -> Format.GEMM;
          case "awq gemv" -> Format.GEMV;
          case "awq gemv_fast", "awq llm-awq" -> Format.GEMV_FAST;
          case "qqq qqq" -> Format.QQQ;
          case "compressed-tensors pack-quantized" -> Format.COMPRESSED_TENSORS;
          case "compressed-tensors int-quantized" -> Format.INT_QUANTIZED;
          case "mlx mlx" -> Format.MLX;
          default -> null;
        });
  }

  /**
   * Files without a method: AutoAWQ's first ones and MLX's have keys of their own, the rest is
   * AutoGPTQ.
   */
  private static String guessMethod(ObjectNode json) {
    if (json.has("zero_point") || json.has("w_bit") || json.has("q_group_size")) {
      return "awq";
    }
    return json.has("mode") ? "mlx" : "gptq";
  }

  private static String format(String given, String fromMethod, JsonFields fields) {
    if (!fromMethod.isEmpty()) {
      return fromMethod;
    }
    if (lower(fields.text("backend").orElse("")).equals("llm-awq")) { // a layout, not a program
      return "llm-awq";
    }
    return given.isEmpty() && fields.bool("is_marlin_format", false) ? "marlin" : given;
  }

  private ModuleScheme defaults(JsonFields fields) {
    if (groups != null) {
      return groups.defaults();
    }
    if (isMlx()) {
      return mlxScheme(fields, 4, 64);
    }
    boolean sym = fields.bool("sym").orElseGet(() -> !fields.bool("zero_point", false));
    return new ModuleScheme(
        ModuleScheme.bits(fields, "bits", "w_bit", "wbits")
            .or(() -> isGptq() ? Optional.empty() : Optional.of(4))
            .orElseThrow(() -> fields.bad("bits", "missing", "bits of a weight, 2 to 8")),
        ModuleScheme.groupSize(fields, "group_size", "q_group_size").orElse(isGptq() ? -1L : 128L),
        sym,
        isGptq() && fields.bool("desc_act", false)); // awq and qqq files say true for nothing
  }

  private static ModuleScheme mlxScheme(JsonFields fields, int bits, long groupSize) {
    return new ModuleScheme(
        ModuleScheme.bits(fields, "bits").orElse(bits),
        ModuleScheme.groupSize(fields, "group_size").orElse(groupSize),
        false,
        false);
  }

  private static List<String> quantizers(ObjectNode json) {
    var names = new ArrayList<String>();
    var node = json.path("meta").path("quantizer");
    if (node.isTextual()) {
      names.add(node.asText());
    }
    node.forEach(n -> names.add(n.asText()));
    return List.copyOf(names);
  }

  private boolean isGptq() {
    return method.equals("gptq");
  }

  private boolean isCompressed() {
    return method.equals("compressed-tensors");
  }

  private boolean isMlx() {
    return method.equals("mlx");
  }

  /**
   * {@code gptq}, {@code awq}, {@code compressed-tensors} ...: what the file says, in lower case.
   */
  public String method() {
    return method;
  }

  /**
   * {@code gptq}, {@code gptq_v2}, {@code gemm}, {@code pack-quantized} ...; files that name none
   * mean the first format of their method.
   */
  public String format() {
    return switch (format.isEmpty() || isMlx() ? method : "") {
      case "gptq" -> "gptq";
      case "awq" -> "gemm";
      case "qqq" -> "qqq";
      case "mlx" -> "mlx";
      default -> format;
    };
  }

  /** The layout of its tensors; planes and narrow words are kinds of gptq and gptq_v2. */
  Format layoutFormat() {
    return layout.orElseThrow();
  }

  /** The stored zero is the true zero minus one. */
  public boolean storesZeroMinusOne() {
    return format().equals("gptq");
  }

  /** How the tensors of a GPTQ module hold codes and zeros. */
  GptqLayout layout() {
    requireReadable();
    return new GptqLayout(
        PACK_DTYPES.get(packDtype), format().equals(PLANAR), storesZeroMinusOne() ? 1 : 0);
  }

  /** What holds for modules that no override names. */
  public ModuleScheme defaults() {
    requireReadable();
    return defaults;
  }

  public boolean lmHead() {
    return lmHead;
  }

  public DynamicOverrides dynamic() {
    return dynamic;
  }

  /** The programs in {@code meta.quantizer}, as {@code name:version}. */
  public List<String> quantizers() {
    return quantizers;
  }

  /** The scheme of one module, or empty when the file leaves it in float. */
  public Optional<ModuleScheme> scheme(String module) {
    requireReadable();
    if (groups != null) {
      return groups.scheme(module);
    }
    if (isMlx() && json.has(module)) {
      JsonNode own = json.get(module);
      var fields = JsonFields.of(source, Escaped.line(module), own);
      return own.isObject()
          ? Optional.of(mlxScheme(fields, defaults.bits(), defaults.groupSize()))
          : own.asBoolean() ? Optional.of(defaults) : Optional.empty();
    }
    return dynamic.apply(module, defaults);
  }

  /**
   * Bits of a code of a module, by whatever key a file of any kind has for it; 0 when it has none.
   * MLX has objects for single modules, compressed-tensors one for each group of modules.
   */
  int storedBits(String module) {
    JsonNode own = json.path(module);
    for (JsonNode node : List.of(own, json)) {
      for (String key : List.of("bits", "w_bit", "wbits")) {
        if (node.path(key).isInt()) {
          return node.path(key).intValue();
        }
      }
    }
    for (JsonNode group : json.path("config_groups")) {
      if (group.path("weights").path("num_bits").isInt()) {
        return group.path("weights").path("num_bits").intValue();
      }
    }
    return 0;
  }

  /** Why this version cannot decode the weights, or empty. */
  public Optional<String> unsupported() {
    if (layout.isEmpty()) {
      return Optional.of(isGptq() ? "checkpoint_format " + Escaped.of(format()) : kind());
    }
    if (groups != null) {
      return groups.unsupported().map(what -> kind() + ": " + what);
    }
    String mode = json.path("mode").asText("affine");
    if (isMlx()) {
      return mode.equals("affine") ? Optional.empty() : Optional.of("mlx mode " + Escaped.of(mode));
    }
    if (layout.get() != Format.GPTQ && layout.get() != Format.GPTQ_V2) {
      int bits = storedBits("");
      if (bits != 0 && bits != 4) {
        return Optional.of(kind() + " and bits " + bits);
      }
    }
    boolean any =
        switch (layout.get()) {
          case GPTQ, GPTQ_V2 -> !format().equals(PLANAR);
          default -> layout.get() == Format.GEMV_FAST; // its writers say int16, or nothing
        };
    return refusePacking(any ? PACK_DTYPES.keySet() : Set.of(PACK_DTYPE));
  }

  private String kind() {
    return "quant_method "
        + Escaped.of(method)
        + (format().isEmpty() ? "" : " with format " + Escaped.of(format()));
  }

  private Optional<String> refusePacking(Set<String> readable) {
    return readable.contains(packDtype)
        ? Optional.empty()
        : Optional.of("pack_dtype " + Escaped.of(packDtype));
  }

  /** Refuses, by name, what this version cannot decode. */
  public void requireReadable() {
    unsupported()
        .ifPresent(what -> {
          throw new UnsupportedModelException(
              source
                  + ": "
                  + what
                  + " is not supported; this version reads float models, gptq (also gptq_v2,"
                  + " gptq_p and marlin), awq (gemm, gemv, gemv_fast, llm-awq) and qqq of 4 bits,"
                  + " compressed-tensors (pack-quantized, int-quantized) and mlx (affine)");
        });
  }

  /** The object as the file has it, unknown keys included. */
  public ObjectNode json() {
    return json.deepCopy();
  }

  /** The file it came from, for messages. */
  public String source() {
    return source;
  }

  private static String lower(String text) {
    return text.toLowerCase(Locale.ROOT);
  }

  @Override
  public String toString() {
    return method + " " + format() + (defaults == null ? "" : " " + defaults);
  }
}
