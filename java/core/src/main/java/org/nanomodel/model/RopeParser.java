package org.nanomodel.model;

import java.util.List;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;

/**
 * Rotary settings of a config.json: {@code rope_parameters} of transformers 5, flat or nested by
 * layer type, or {@code rope_theta} and {@code rope_scaling} of version 4.
 */
final class RopeParser {
  private static final String SUPPORTED = "default, linear, llama3, yarn";
  private static final double DEFAULT_THETA = 10_000;
  private static final double MAX_CONTEXT = 1 << 30;

  private final JsonFields top;
  private final int headDim;
  private final int maxPositions;

  RopeParser(JsonFields top, int headDim, int maxPositions) {
    this.top = top;
    this.headDim = headDim;
    this.maxPositions = maxPositions;
  }

  /** The settings of layers of one type ({@code full_attention}). */
  RopeConfig parse(String layerType) {
    JsonFields own =
        top.object("rope_scaling").or(() -> top.object("rope_parameters")).orElse(null);
    if (own != null) {
      own = own.object(layerType).orElse(own);
    }
    double theta =
        own != null && own.has("rope_theta")
            ? own.positive("rope_theta")
            : top.positive("rope_theta", DEFAULT_THETA);
    if (theta <= 1) {
      throw top.bad("rope_theta", Double.toString(theta), "a number above 1");
    }
    return new RopeConfig(
        theta, rotaryDim(own), own == null ? new RopeConfig.Default() : scaling(own));
  }

  private int rotaryDim(JsonFields own) {
    JsonFields where = own != null && own.has("partial_rotary_factor") ? own : top;
    double part = where.positive("partial_rotary_factor", 1);
    int dim = (int) (headDim * part);
    if (part > 1 || dim < 1) {
      throw where.bad(
          "partial_rotary_factor",
          Double.toString(part),
          "a part of head_dim = " + headDim + ", at most 1");
    }
    if (dim % 2 != 0) {
      throw where.bad("head_dim", Integer.toString(dim), "an even number of rotated elements");
    }
    return dim;
  }

  private RopeConfig.Scaling scaling(JsonFields f) {
    String type = f.text("rope_type").or(() -> f.text("type")).orElse("default");
    return switch (type) {
      case "default" -> new RopeConfig.Default();
      case "linear" -> new RopeConfig.Linear(f.positive("factor"));
      case "llama3" -> llama3(f);
      case "yarn" -> yarn(f);
      default ->
          throw new UnsupportedModelException(
              top.file()
                  + ": "
                  + f.prefix()
                  + "rope_type "
                  + Escaped.of(type)
                  + " is not supported; supported: "
                  + SUPPORTED);
    };
  }

  private RopeConfig.Scaling llama3(JsonFields f) {
    double low = f.positive("low_freq_factor");
    double high = f.positive("high_freq_factor");
    if (high <= low) {
      throw f.bad(
          "high_freq_factor", Double.toString(high), "a number above low_freq_factor = " + low);
    }
    return new RopeConfig.Llama3(f.positive("factor"), low, high, originalContext(f));
  }

  private RopeConfig.Scaling yarn(JsonFields f) {
    double original = originalContext(f);
    double factor = f.has("factor") ? f.positive("factor") : maxPositions / original;
    return new RopeConfig.Yarn(
        factor,
        original,
        f.positive("beta_fast", 32),
        f.positive("beta_slow", 1),
        f.positive("attention_factor", Double.NaN),
        number(f, "mscale"),
        number(f, "mscale_all_dim"),
        f.bool("truncate", true));
  }

  /** 0 is what checkpoints write for "not used". */
  private static double number(JsonFields f, String name) {
    return f.has(name) && f.node().get(name).isNumber() && f.node().get(name).doubleValue() == 0
        ? 0
        : f.positive(name, 0);
  }

  private double originalContext(JsonFields f) {
    String name = "original_max_position_embeddings";
    JsonFields where = top.has(name) ? top : f;
    double n = where.positive(name, maxPositions);
    if (n > MAX_CONTEXT) {
      throw where.bad(name, Double.toString(n), "at most " + MAX_CONTEXT);
    }
    return n;
  }

  /** The layer types that settings may be nested under. */
  static List<String> layerTypes() {
    return List.of("full_attention", "sliding_attention");
  }
}
