package org.nanomodel.model;

import static org.nanomodel.model.Family.BiasRule.ATTENTION;
import static org.nanomodel.model.Family.BiasRule.ATTENTION_AND_MLP;
import static org.nanomodel.model.Family.BiasRule.NONE;
import static org.nanomodel.model.Family.BiasRule.QKV;
import static org.nanomodel.model.Family.WindowRule.ALL_LAYERS;
import static org.nanomodel.model.Family.WindowRule.BY_LAYER;
import static org.nanomodel.model.ModuleTree.group;

import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.nanomodel.UnsupportedModelException;

/** The architectures this version serves: one line each. */
public final class ModelRegistry {
  private static final ModuleTree LLAMA =
      llama(List.of("input_layernorm", "post_attention_layernorm"));
  private static final ModuleTree QWEN3 =
      llama(
          List.of(
              "input_layernorm",
              "self_attn.q_norm",
              "self_attn.k_norm",
              "post_attention_layernorm"));

  private static final List<Family> FAMILIES =
      List.of(
          new Family(
              "llama",
              "LlamaForCausalLM",
              ATTENTION_AND_MLP,
              Family.WindowRule.NONE,
              0,
              0,
              LLAMA,
              LlamaBlock::load),
          new Family(
              "mistral", "MistralForCausalLM", NONE, ALL_LAYERS, 0, 8, LLAMA, LlamaBlock::load),
          new Family("qwen2", "Qwen2ForCausalLM", QKV, BY_LAYER, 0, 32, LLAMA, LlamaBlock::load),
          new Family(
              "qwen3", "Qwen3ForCausalLM", ATTENTION, BY_LAYER, 128, 32, QWEN3, LlamaBlock::load));

  private ModelRegistry() {}

  private static ModuleTree llama(List<String> norms) {
    return new ModuleTree(
        "model.embed_tokens",
        "model.layers",
        "model.norm",
        "lm_head",
        List.of(
            group("input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
            group("self_attn.v_proj", "self_attn.o_proj"),
            group("post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj"),
            group("mlp.up_proj", "mlp.down_proj")),
        norms);
  }

  /** The family of a {@code model_type}, if it is served. */
  public static Optional<Family> find(String modelType) {
    return FAMILIES.stream().filter(f -> f.modelType().equals(modelType)).findFirst();
  }

  /** As {@link #find}, or an error that lists what is served. */
  public static Family family(String modelType) {
    return find(modelType)
        .orElseThrow(() ->
            new UnsupportedModelException(
                "model_type '" + modelType + "' is not supported; supported: " + supported()));
  }

  /** {@code llama, mistral, ...}. */
  public static String supported() {
    return FAMILIES.stream().map(Family::modelType).collect(Collectors.joining(", "));
  }

  public static List<Family> families() {
    return FAMILIES;
  }
}
