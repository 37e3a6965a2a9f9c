package org.nanomodel.model;

import static org.nanomodel.model.Family.BiasRule.ALL;
import static org.nanomodel.model.Family.BiasRule.ATTENTION;
import static org.nanomodel.model.Family.BiasRule.ATTENTION_AND_MLP;
import static org.nanomodel.model.Family.BiasRule.NONE;
import static org.nanomodel.model.Family.BiasRule.QKV;
import static org.nanomodel.model.Family.WindowRule.ALL_LAYERS;
import static org.nanomodel.model.Family.WindowRule.BY_LAYER;
import static org.nanomodel.model.ModuleTree.group;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.model.Family.Defaults;
import org.nanomodel.model.Family.WindowRule;

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

  private static final ModuleTree OPT =
      new ModuleTree(
          "model.decoder.embed_tokens",
          Optional.of(new ModuleTree.Positions("model.decoder.embed_positions", 2)),
          "model.decoder.project_in",
          "model.decoder.project_out",
          false,
          "model.decoder.layers",
          "model.decoder.final_layer_norm",
          "lm_head",
          List.of(
              group(
                  "self_attn_layer_norm",
                  "self_attn.q_proj",
                  "self_attn.k_proj",
                  "self_attn.v_proj"),
              group("self_attn.v_proj", "self_attn.out_proj"),
              group("final_layer_norm", "fc1"),
              group("fc1", "fc2")),
          List.of("self_attn_layer_norm", "final_layer_norm"));
  private static final ModuleTree GPT2 =
      new ModuleTree(
          "transformer.wte",
          Optional.of(new ModuleTree.Positions("transformer.wpe", 0)),
          null,
          null,
          true,
          "transformer.h",
          "transformer.ln_f",
          "lm_head",
          List.of(
              group("ln_1", "attn.c_attn"),
              group("attn.c_attn", "attn.c_proj"),
              group("ln_2", "mlp.c_fc"),
              group(null, "mlp.c_proj")),
          List.of("ln_1", "ln_2"));

  private static final List<Family> FAMILIES =
      List.of(
          llama("llama", "LlamaForCausalLM", 0, 0, ATTENTION_AND_MLP, WindowRule.NONE, LLAMA),
          llama("mistral", "MistralForCausalLM", 0, 8, NONE, ALL_LAYERS, LLAMA),
          llama("qwen2", "Qwen2ForCausalLM", 0, 32, QKV, BY_LAYER, LLAMA),
          llama("qwen3", "Qwen3ForCausalLM", 128, 32, ATTENTION, BY_LAYER, QWEN3),
          gpt(
              "opt",
              "OPTForCausalLM",
              Map.of("intermediate_size", "ffn_dim", "hidden_act", "activation_function"),
              new Defaults(0, 0, 0, "relu", 1e-5, true),
              OPT),
          gpt(
              "gpt2",
              "GPT2LMHeadModel",
              Map.of(
                  "hidden_size", "n_embd",
                  "num_attention_heads", "n_head",
                  "num_hidden_layers", "n_layer",
                  "max_position_embeddings", "n_positions",
                  "intermediate_size", "n_inner",
                  "hidden_act", "activation_function",
                  "rms_norm_eps", "layer_norm_epsilon"),
              new Defaults(0, 0, 4, "gelu_new", 1e-5, true),
              GPT2));

  private ModelRegistry() {}

  private static ModuleTree llama(List<String> norms) {
    return new ModuleTree(
        "model.embed_tokens",
        Optional.empty(),
        null,
        null,
        false,
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

  private static Family llama(
      String type,
      String architecture,
      int headDim,
      int kvHeads,
      Family.BiasRule biases,
      Family.WindowRule windows,
      ModuleTree tree) {
    var defaults = new Defaults(headDim, kvHeads, 0, "silu", 1e-6, false);
    return new Family(
        type,
        architecture,
        Map.of(),
        defaults,
        biases,
        windows,
        Norm.Kind.RMS,
        tree,
        LlamaBlock::load);
  }

  private static Family gpt(
      String type,
      String architecture,
      Map<String, String> keys,
      Defaults defaults,
      ModuleTree tree) {
    return new Family(
        type,
        architecture,
        keys,
        defaults,
        ALL,
        WindowRule.NONE,
        Norm.Kind.LAYER,
        tree,
        GptBlock::load);
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
