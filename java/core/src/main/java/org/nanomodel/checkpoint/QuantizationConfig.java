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
  private static final Set<String> READABLE_FORMATS = Set.of("gptq", "gptq_v2", PLANAR);
  private static final String READABLE_AWQ = "gemm";

  /** Old checkpoints name the format of a GPTQ quantization as its method. */
  private static final Set<String> FORMATS_NAMED_AS_METHOD = Set.of("marlin", "bitblas");

  private final String source;
  private final ObjectNode json;
  private final String method;
  private final String format;
  private final String packDtype;
  private final ModuleScheme defaults;
  private final boolean lmHead;
  private final DynamicOverrides dynamic;
  private final List<String> quantizers;

  private QuantizationConfig(ObjectNode json, String source, boolean mlx) {
    this.source = source;
    this.json = json;
    var fields = new Fields(source, json);
    String named =
        json.has("symmetric") ? "nanoptq" : lower(fields.text("quant_method", "method").orElse(""));
    String format = lower(fields.text("checkpoint_format", "format", "version").orElse(""));
    boolean formatAsMethod = FORMATS_NAMED_AS_METHOD.contains(named);
    this.method =
        named.isEmpty() ? (mlx ? "mlx" : guessMethod(json)) : formatAsMethod ? "gptq" : named;
    this.format = format(format, formatAsMethod ? named : "", fields);
    this.packDtype = lower(fields.text("pack_dtype").orElse(PACK_DTYPE));
    boolean known = isGptq() || isGemm();
    this.lmHead = known && fields.bool("lm_head").orElse(false);
    this.dynamic =
        known ? DynamicOverrides.parse(json.get("dynamic"), source) : DynamicOverrides.NONE;
    this.defaults = known ? defaults(fields) : null;
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
    for (String key : List.of("quantization_config", "quantization")) { // the second is MLX's own
      if (config.hasNonNull(key)) {
        String source = directory.resolve("config.json") + ": " + key;
        if (config.get(key) instanceof ObjectNode object) {
          return Optional.of(new QuantizationConfig(object, source, key.equals("quantization")));
        }
        throw new BadModelException(source + " is not an object");
      }
    }
    return Optional.empty();
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

  private static String format(String given, String fromMethod, Fields fields) {
    if (!fromMethod.isEmpty()) {
      return fromMethod;
    }
    if (lower(fields.text("backend").orElse("")).equals("llm-awq")) { // a layout, not a program
      return "llm-awq";
    }
    return given.isEmpty() && fields.bool("is_marlin_format").orElse(false) ? "marlin" : given;
  }

  private ModuleScheme defaults(Fields fields) {
    boolean sym = fields.bool("sym").orElseGet(() -> !fields.bool("zero_point").orElse(false));
    return new ModuleScheme(
        fields
            .bits("bits", "w_bit", "wbits")
            .or(() -> isGptq() ? Optional.empty() : Optional.of(4))
            .orElseThrow(() -> new BadModelException(fields.where() + ": field bits is missing")),
        fields.groupSize("group_size", "q_group_size").orElse(isGptq() ? -1L : 128L),
        sym,
        fields.bool("desc_act").orElse(false));
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

  /** AWQ in the layout that its writers use by default. */
  boolean isGemm() {
    return method.equals("awq") && format().equals(READABLE_AWQ);
  }

  /**
   * {@code gptq}, {@code awq}, {@code compressed-tensors} ...: what the file says, in lower case.
   */
  public String method() {
    return method;
  }

  /**
   * {@code gptq}, {@code gptq_v2}, {@code gemm} ...; files that name none mean {@code gptq} or
   * {@code gemm}.
   */
  public String format() {
    return switch (format.isEmpty() ? method : "") {
      case "gptq" -> "gptq";
      case "awq" -> READABLE_AWQ;
      default -> format;
    };
  }

  /** The layout of its tensors; planes and narrow words are kinds of gptq and gptq_v2. */
  Format layoutFormat() {
    return isGemm() ? Format.GEMM : storesZeroMinusOne() ? Format.GPTQ : Format.GPTQ_V2;
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

  /** The scheme of one module, or empty when an override leaves it in float. */
  public Optional<ModuleScheme> scheme(String module) {
    requireReadable();
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
    if (!isGptq() && !isGemm()) {
      String named = method.equals("awq") ? " with format " + Escaped.of(format()) : "";
      return Optional.of("quant_method " + Escaped.of(method) + named);
    }
    if (isGptq() && !READABLE_FORMATS.contains(format())) {
      return Optional.of("checkpoint_format " + Escaped.of(format()));
    }
    if (isGemm() && defaults.bits() != 4) {
      return Optional.of("quant_method 'awq' with bits " + defaults.bits());
    }
    boolean wholeWords = isGemm() || format().equals(PLANAR);
    Set<String> readable = wholeWords ? Set.of(PACK_DTYPE) : PACK_DTYPES.keySet();
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
                  + " is not supported; this version reads float models, quant_method gptq with"
                  + " checkpoint_format gptq, gptq_v2 or gptq_p, and 4-bit awq with format gemm");
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
