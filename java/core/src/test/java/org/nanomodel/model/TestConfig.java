package org.nanomodel.model;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;

/** Small configs, as config.json would have them. */
final class TestConfig {
  private static final ObjectMapper JSON = new ObjectMapper();

  private TestConfig() {}

  /** A LLaMA of 2 layers, dim 64, 4 heads over 2, vocabulary 97. */
  static ObjectNode llama() {
    try {
      return (ObjectNode)
          JSON.readTree(
              """
              {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
               "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
               "num_key_value_heads": 2, "vocab_size": 97, "max_position_embeddings": 1200,
               "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": false,
               "bos_token_id": 1, "eos_token_id": 2}
              """);
    } catch (java.io.IOException e) {
      throw new IllegalStateException(e);
    }
  }

  static ObjectNode without(String field) {
    ObjectNode c = llama();
    c.remove(field);
    return c;
  }

  static ObjectNode family(String type) {
    String architecture = ModelRegistry.family(type).architecture();
    ObjectNode c = llama().put("model_type", type);
    c.putArray("architectures").add(architecture);
    return c;
  }

  static ObjectNode with(ObjectNode base, String json) {
    try {
      return base.setAll((ObjectNode) JSON.readTree(json.replace('\'', '"')));
    } catch (java.io.IOException e) {
      throw new IllegalStateException(e);
    }
  }

  static Config parse(ObjectNode config) {
    return Config.parse(config.toString().getBytes(StandardCharsets.UTF_8), null, "config.json");
  }
}
