package org.nanomodel.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;
import org.nanomodel.ops.Activation;
import org.nanomodel.tensor.DataType;

/**
 * config.json to {@link Config}: the defaults of transformers' configuration classes, and limits on
 * every number.
 */
final class ConfigParser {
  private static final int MAX_DIM = 1 << 20;
  private static final int MAX_FFN = 1 << 24;
  private static final int MAX_LAYERS = 4096;
  private static final int MAX_HEADS = 1 << 14;
  private static final int MAX_HEAD_DIM = 1 << 14;
  private static final int MAX_VOCAB = 1 << 24;
  private static final int MAX_POSITIONS = 1 << 30;

  private final JsonFields raw;
  private final JsonFields generation;
  private final Family family;
  private final JsonFields c;

  ConfigParser(String file, byte[] config, byte[] generation) {
    this.raw = JsonFields.parse(file, config);
    this.generation =
        generation == null ? null : JsonFields.parse(generationName(file), generation);
    this.family = family(raw);
    this.c = raw.calling(family.keys());
  }

  private static String generationName(String file) {
    return file.endsWith("config.json")
        ? file.substring(0, file.length() - 11) + "generation_config.json"
        : file;
  }

  Config parse() {
    int hidden = c.integer("hidden_size", 1, MAX_DIM);
    int heads = c.integer("num_attention_heads", 1, MAX_HEADS);
    int kvHeads = c.integer("num_key_value_heads", 1, heads, silentKvHeads(heads));
    if (heads % kvHeads != 0) {
      throw c.bad(
          "num_key_value_heads",
          Integer.toString(kvHeads),
          "a divisor of num_attention_heads = " + heads);
    }
    int headDim = headDim(hidden, heads);
    int layers = c.integer("num_hidden_layers", 1, MAX_LAYERS);
    int vocab = c.integer("vocab_size", 1, MAX_VOCAB);
    int positions = c.integer("max_position_embeddings", 1, MAX_POSITIONS);
    boolean preNorm = c.bool("do_layer_norm_before", true);
    if (!c.bool("layer_norm_elementwise_affine", true)) {
      throw new UnsupportedModelException(
          c.file() + ": layer_norm_elementwise_affine false is not supported; supported: true");
    }
    return new Config(
        family.modelType(),
        family.architecture(),
        hidden,
        c.integer("word_embed_proj_dim", 1, MAX_DIM, hidden),
        ffnSize(hidden),
        layers,
        heads,
        kvHeads,
        headDim,
        vocab,
        positions,
        normEps(),
        preNorm,
        preNorm && !c.bool("_remove_final_layer_norm", false),
        activation(),
        biases(),
        c.bool("tie_word_embeddings", family.defaults().tied()),
        layers(layers, headDim, positions),
        dtype(),
        endIds(vocab),
        first(c.ids("bos_token_id", vocab)),
        padId(vocab));
  }

  private static Family family(JsonFields c) {
    String type =
        c.text("model_type")
            .orElseThrow(
                () -> c.bad("model_type", "missing", "one of " + ModelRegistry.supported()));
    Family family = ModelRegistry.find(type).orElse(null);
    if (family == null) {
      throw new UnsupportedModelException(
          c.file()
              + ": model_type "
              + Escaped.of(type)
              + " is not supported; supported: "
              + ModelRegistry.supported());
    }
    List<String> architectures = c.texts("architectures");
    if (architectures.isEmpty()) {
      throw c.bad(
          "architectures", c.node().get("architectures"), "[\"" + family.architecture() + "\"]");
    }
    if (!architectures.contains(family.architecture())) {
      throw new UnsupportedModelException(
          c.file()
              + ": architecture "
              + Escaped.line(architectures.getFirst())
              + " is not supported; supported for "
              + family.modelType()
              + ": "
              + family.architecture());
    }
    return family;
  }

  /**
   * null means as many as query heads; a missing key, what the family's configuration class says.
   */
  private int silentKvHeads(int heads) {
    return c.node().has("num_key_value_heads") ? heads : family.defaultKvHeads(heads);
  }

  private int headDim(int hidden, int heads) {
    if (c.has("head_dim")) {
      return c.integer("head_dim", 1, MAX_HEAD_DIM);
    }
    if (family.defaults().headDim() != 0) {
      return family.defaults().headDim();
    }
    if (hidden % heads != 0) {
      throw c.bad(
          "num_attention_heads",
          Integer.toString(heads),
          "a divisor of hidden_size = " + hidden + ", or a head_dim");
    }
    return hidden / heads;
  }

  private int ffnSize(int hidden) {
    int factor = family.defaults().ffnFactor();
    return factor == 0
        ? c.integer("intermediate_size", 1, MAX_FFN)
        : c.integer("intermediate_size", 1, MAX_FFN, factor * hidden);
  }

  private float normEps() {
    double eps = c.positive("rms_norm_eps", family.defaults().normEps());
    if (!((float) eps > 0) || eps > 1) {
      throw c.bad("rms_norm_eps", Double.toString(eps), "above 0, at most 1");
    }
    return (float) eps;
  }

  private Activation activation() {
    String name = c.text("hidden_act").orElse(family.defaults().activation());
    return switch (name) {
      case "silu", "swish" -> Activation.SILU;
      case "gelu" -> Activation.GELU;
      case "gelu_pytorch_tanh", "gelu_new" -> Activation.GELU_TANH;
      case "relu" -> Activation.RELU;
      default ->
          throw new UnsupportedModelException(
              c.file()
                  + ": hidden_act "
                  + Escaped.of(name)
                  + " is not supported; supported: silu, gelu, gelu_pytorch_tanh, gelu_new, relu");
    };
  }

  private Config.Biases biases() {
    return switch (family.biasRule()) {
      case NONE -> new Config.Biases(false, false, false);
      case QKV -> new Config.Biases(true, false, false);
      case ATTENTION -> attentionBias(false);
      case ATTENTION_AND_MLP -> attentionBias(c.bool("mlp_bias", false));
      case ALL -> {
        boolean all = c.bool("enable_bias", true);
        yield new Config.Biases(all, all, all);
      }
    };
  }

  private Config.Biases attentionBias(boolean mlp) {
    boolean attention = c.bool("attention_bias", false);
    return new Config.Biases(attention, attention, mlp);
  }

  private List<Config.Layer> layers(int layers, int headDim, int positions) {
    if (family.tree().positions().isPresent()) {
      return IntStream.range(0, layers)
          .mapToObj(i -> new Config.Layer(0, scale(i, headDim), Optional.empty()))
          .toList();
    }
    var rope = new RopeParser(c, headDim, positions);
    RopeConfig full = rope.parse("full_attention");
    RopeConfig sliding = rope.parse("sliding_attention");
    int[] windows = windows(layers);
    var out = new ArrayList<Config.Layer>();
    for (int i = 0; i < layers; i++) {
      RopeConfig r = windows[i] > 0 ? sliding : full;
      if (r.rotaryDim() != headDim) {
        // transformers itself ignores or trips over it in these families
        throw new UnsupportedModelException(
            c.file()
                + ": partial_rotary_factor is not supported for model_type "
                + family.modelType()
                + "; supported: 1");
      }
      out.add(new Config.Layer(windows[i], scale(i, headDim), Optional.of(r)));
    }
    return List.copyOf(out);
  }

  /** GPT-2's variants: none, or less in deeper layers. */
  private float scale(int layer, int headDim) {
    double scale = c.bool("scale_attn_weights", true) ? 1 / Math.sqrt(headDim) : 1;
    return (float) (c.bool("scale_attn_by_inverse_layer_idx", false) ? scale / (layer + 1) : scale);
  }

  private int[] windows(int layers) {
    var windows = new int[layers];
    boolean off =
        family.windowRule() == Family.WindowRule.NONE
            || family.windowRule() == Family.WindowRule.BY_LAYER
                && !c.bool("use_sliding_window", false)
            || c.node().has("sliding_window") && c.node().get("sliding_window").isNull();
    if (off) {
      return windows;
    }
    int window = c.integer("sliding_window", 1, MAX_POSITIONS, 4096);
    List<String> types = c.texts("layer_types");
    if (!types.isEmpty() && types.size() != layers) {
      throw c.bad("layer_types", types.size() + " entries", layers + " (num_hidden_layers)");
    }
    int from = c.integer("max_window_layers", 0, Integer.MAX_VALUE, 28);
    for (int i = 0; i < layers; i++) {
      boolean slides =
          family.windowRule() == Family.WindowRule.ALL_LAYERS
              || (types.isEmpty() ? i >= from : isSliding(types.get(i)));
      windows[i] = slides ? window : 0;
    }
    return windows;
  }

  private boolean isSliding(String type) {
    return switch (type) {
      case "sliding_attention" -> true;
      case "full_attention" -> false;
      default ->
          throw new UnsupportedModelException(
              c.file()
                  + ": layer_types holds "
                  + Escaped.of(type)
                  + "; supported: "
                  + RopeParser.layerTypes());
    };
  }

  private DataType dtype() {
    String name = c.text("dtype").or(() -> c.text("torch_dtype")).orElse("float32");
    return DataType.ofTorchName(name)
        .orElseThrow(() ->
            c.bad("dtype", name, "float32, float16, bfloat16 or another float type of torch"));
  }

  private List<Integer> endIds(int vocab) {
    List<Integer> ids = generation == null ? List.of() : generation.ids("eos_token_id", vocab);
    return ids.isEmpty() ? c.ids("eos_token_id", vocab) : ids;
  }

  /** Some checkpoints write -1 for "none". */
  private OptionalInt padId(int vocab) {
    JsonNode pad = c.node().get("pad_token_id");
    return pad != null && pad.isInt() && pad.intValue() == -1
        ? OptionalInt.empty()
        : first(c.ids("pad_token_id", vocab));
  }

  private static OptionalInt first(List<Integer> ids) {
    return ids.isEmpty() ? OptionalInt.empty() : OptionalInt.of(ids.getFirst());
  }
}
