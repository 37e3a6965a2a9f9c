package org.nanomodel.checkpoint;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;

/** A random Llama of a few thousand weights, written where a test wants it. */
public final class TinyModel {
  private final Map<String, long[]> tensors = new LinkedHashMap<>();
  private final int hidden;
  private final int ffn;
  private final int layers;
  private final boolean tied;

  /** Head size 8 and as many heads as fit, half as many for keys and values. */
  public TinyModel(int hidden, int ffn, int layers, boolean tied) {
    this.hidden = hidden;
    this.ffn = ffn;
    this.layers = layers;
    this.tied = tied;
    tensors.put("model.embed_tokens.weight", new long[] {VOCAB, hidden});
    for (int i = 0; i < layers; i++) {
      String block = "model.layers." + i + ".";
      tensors.put(block + "input_layernorm.weight", new long[] {hidden});
      tensors.put(block + "self_attn.q_proj.weight", new long[] {hidden, hidden});
      tensors.put(block + "self_attn.k_proj.weight", new long[] {hidden / 2, hidden});
      tensors.put(block + "self_attn.v_proj.weight", new long[] {hidden / 2, hidden});
      tensors.put(block + "self_attn.o_proj.weight", new long[] {hidden, hidden});
      tensors.put(block + "post_attention_layernorm.weight", new long[] {hidden});
      tensors.put(block + "mlp.gate_proj.weight", new long[] {ffn, hidden});
      tensors.put(block + "mlp.up_proj.weight", new long[] {ffn, hidden});
      tensors.put(block + "mlp.down_proj.weight", new long[] {hidden, ffn});
    }
    tensors.put("model.norm.weight", new long[] {hidden});
    if (!tied) {
      tensors.put("lm_head.weight", new long[] {VOCAB, hidden});
    }
  }

  public static final int VOCAB = 64;

  /** The linears of the blocks, in the order of the files. */
  public List<String> linears() {
    var names = new ArrayList<String>();
    tensors.forEach((name, shape) -> {
      if (shape.length == 2 && name.contains("layers")) {
        names.add(name.replace(".weight", ""));
      }
    });
    return names;
  }

  /** All tensors, in the order of the file. */
  public List<String> tensorNames() {
    return List.copyOf(tensors.keySet());
  }

  /** Writes config.json, a generation config and weights of F32. */
  public Path write(Path directory) throws IOException {
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("config.json"), config());
    Files.writeString(directory.resolve("generation_config.json"), "{\"eos_token_id\": 1}");
    Files.writeString(directory.resolve("notes.txt"), "no part of the model");
    var plan = new ArrayList<TensorSpec>();
    tensors.forEach((name, shape) -> plan.add(new TensorSpec(name, DType.F32, shape)));
    try (var writer = SafetensorsWriter.create(directory.resolve("model.safetensors"), plan)) {
      var random = new Random(7);
      for (TensorSpec spec : plan) {
        writer.put(spec.name(), values(random, spec));
      }
      writer.finish();
    }
    return directory;
  }

  private static MemorySegment values(Random random, TensorSpec spec) {
    var values = MemorySegment.ofArray(new byte[(int) spec.byteSize()]);
    boolean norm = spec.shape().length == 1;
    for (long at = 0; at < values.byteSize(); at += 4) {
      float x = (float) (random.nextGaussian() * 0.1);
      values.set(ValueLayout.JAVA_FLOAT_UNALIGNED, at, norm ? 1 + x : x);
    }
    return values;
  }

  private String config() {
    return """
    {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": %d,
     "intermediate_size": %d, "num_hidden_layers": %d, "num_attention_heads": %d,
     "num_key_value_heads": %d, "head_dim": 8, "hidden_act": "silu", "vocab_size": %d,
     "max_position_embeddings": 64, "rms_norm_eps": 1e-06, "rope_theta": 10000.0,
     "tie_word_embeddings": %s, "torch_dtype": "float32", "bos_token_id": 0, "eos_token_id": 1,
     "a_field_of_tomorrow": {"kept": [1, 2.50, null]}}
    """
        .formatted(hidden, ffn, layers, hidden / 8, hidden / 16, VOCAB, tied);
  }
}
