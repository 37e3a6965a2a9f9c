package org.nanomodel.model;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.nanomodel.UnsupportedModelException;
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

  private final JsonFields c;
  private final JsonFields generation;

  ConfigParser(String file, byte[] config, byte[] generation) {
    this.c = JsonFields.parse(file, config);
    this.generation =
        generation == null ? null : JsonFields.parse(generationName(file), generation);
  }

  private static String generationName(String file) {
    return file.endsWith("config.json")
        ? file.substring(0, file.length() - 11) + "generation_config.json"
        : file;
  }

  Config parse() {
    Family family = family();
    int hidden = c.integer("hidden_size", 1, MAX_DIM);
    int heads = c.integer("num_attention_heads", 1, MAX_HEADS);
    int kvHeads = c.integer("num_key_value_heads", 1, heads, silentKvHeads(family, heads));
    if (heads % kvHeads != 0) {
      throw c.bad(
          "num_key_value_heads",
          Integer.toString(kvHeads),
          "a divisor of num_attention_heads = " + heads);
    }
    int headDim = headDim(family, hidden, heads);
    int layers = c.integer("num_hidden_layers", 1, MAX_LAYERS);
    int vocab = c.integer("vocab_size", 1, MAX_VOCAB);
    int positions = c.integer("max_position_embeddings", 1, MAX_POSITIONS);
    return new Config(
        family.modelType(),
        family.architecture(),
        hidden,
        c.integer("intermediate_size", 1, MAX_FFN),
        layers,
        heads,
        kvHeads,
        headDim,
        vocab,
        positions,
        normEps(),
        activation(),
        biases(family),
        c.bool("tie_word_embeddings", false),
        layers(family, layers, headDim, positions),
        dtype(),
        endIds(vocab),
        first(c.ids("bos_token_id", vocab)),
        padId(vocab));
  }

  private Family family() {
    String type =
        c.string("model_type")
            .orElseThrow(
                () -> c.bad("model_type", "missing", "one of " + ModelRegistry.supported()));
    Family family = ModelRegistry.find(type).orElse(null);
    if (family == null) {
      throw new UnsupportedModelException(
          c.file()
              + ": model_type '"
              + JsonFields.cut(type)
              + "' is not supported; supported: "
              + ModelRegistry.supported());
    }
    List<String> architectures = c.strings("architectures");
    if (architectures.isEmpty()) {
      throw c.bad(
          "architectures", c.node().get("architectures"), "[\"" + family.architecture() + "\"]");
    }
    if (!architectures.contains(family.architecture())) {
      throw new UnsupportedModelException(
          c.file()
              + ": architecture "
              + JsonFields.cut(architectures.getFirst())
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
  private int silentKvHeads(Family family, int heads) {
    return c.node().has("num_key_value_heads") ? heads : family.defaultKvHeads(heads);
  }

  private int headDim(Family family, int hidden, int heads) {
    if (c.has("head_dim")) {
      return c.integer("head_dim", 1, MAX_HEAD_DIM);
    }
    if (family.defaultHeadDim() != 0) {
      return family.defaultHeadDim();
    }
    if (hidden % heads != 0) {
      throw c.bad(
          "num_attention_heads",
          Integer.toString(heads),
          "a divisor of hidden_size = " + hidden + ", or a head_dim");
    }
    return hidden / heads;
  }

  private float normEps() {
    double eps = c.positive("rms_norm_eps", 1e-6);
    if (!((float) eps > 0) || eps > 1) {
      throw c.bad("rms_norm_eps", Double.toString(eps), "above 0, at most 1");
    }
    return (float) eps;
  }

  private Activation activation() {
    String name = c.string("hidden_act").orElse("silu");
    return switch (name) {
      case "silu", "swish" -> Activation.SILU;
      case "gelu" -> Activation.GELU;
      case "gelu_pytorch_tanh", "gelu_new" -> Activation.GELU_TANH;
      case "relu" -> Activation.RELU;
      default ->
          throw new UnsupportedModelException(
              c.file()
                  + ": hidden_act '"
                  + JsonFields.cut(name)
                  + "' is not supported; supported: silu, gelu, gelu_pytorch_tanh, gelu_new, relu");
    };
  }

  private Config.Biases biases(Family family) {
    return switch (family.biasRule()) {
      case NONE -> new Config.Biases(false, false, false);
      case QKV -> new Config.Biases(true, false, false);
      case ATTENTION -> attentionBias(false);
      case ATTENTION_AND_MLP -> attentionBias(c.bool("mlp_bias", false));
    };
  }

  private Config.Biases attentionBias(boolean mlp) {
    boolean attention = c.bool("attention_bias", false);
    return new Config.Biases(attention, attention, mlp);
  }

  private List<Config.Layer> layers(Family family, int layers, int headDim, int positions) {
    var rope = new RopeParser(c, headDim, positions);
    RopeConfig full = rope.parse("full_attention");
    RopeConfig sliding = rope.parse("sliding_attention");
    int[] windows = windows(family, layers);
    var out = new ArrayList<Config.Layer>();
    for (int window : windows) {
      RopeConfig r = window > 0 ? sliding : full;
      if (r.rotaryDim() != headDim) {
        // transformers itself ignores or trips over it in these families
        throw new UnsupportedModelException(
            c.file()
                + ": partial_rotary_factor is not supported for model_type "
                + family.modelType()
                + "; supported: 1");
      }
      out.add(new Config.Layer(window, r));
    }
    return List.copyOf(out);
  }

  private int[] windows(Family family, int layers) {
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
    List<String> types = c.strings("layer_types");
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
                  + ": layer_types holds '"
                  + JsonFields.cut(type)
                  + "'; supported: "
                  + RopeParser.layerTypes());
    };
  }

  private DataType dtype() {
    String name = c.string("dtype").or(() -> c.string("torch_dtype")).orElse("float32");
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
