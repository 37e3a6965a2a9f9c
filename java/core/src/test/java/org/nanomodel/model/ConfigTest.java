package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Activation;
import org.nanomodel.tensor.DataType;

class ConfigTest {
  private static Config llamaWith(String json) {
    return TestConfig.parse(TestConfig.with(TestConfig.llama(), json));
  }

  private static Config familyWith(String type, String json) {
    return TestConfig.parse(TestConfig.with(TestConfig.family(type), json));
  }

  @Test
  void silentFieldsGetTheDefaultsOfTransformers() {
    ObjectNode json = TestConfig.llama();
    json.remove("num_key_value_heads");
    json.remove("rms_norm_eps");
    json.remove("tie_word_embeddings");
    Config c = TestConfig.parse(json);
    assertThat(c.kvHeads()).isEqualTo(4);
    assertThat(c.headDim()).isEqualTo(16);
    assertThat(c.normEps()).isEqualTo(1e-6f);
    assertThat(c.tiedEmbeddings()).isFalse();
    assertThat(c.activation()).isEqualTo(Activation.SILU);
    assertThat(c.biases()).isEqualTo(new Config.Biases(false, false, false));
    assertThat(c.dtype()).isEqualTo(DataType.F32);
    assertThat(c.eosIds()).containsExactly(2);
    assertThat(c.bosId()).hasValue(1);
    assertThat(c.padId()).isEmpty();
    assertThat(c.layer()).allMatch(l -> l.window() == 0);
  }

  @Test
  void bothGenerationsOfTransformersSayTheSame() {
    ObjectNode old =
        TestConfig.with(
            TestConfig.llama(),
            "{'torch_dtype': 'bfloat16', 'rope_theta': 5e5, 'rope_scaling': null}");
    ObjectNode now = TestConfig.llama();
    now.remove("rope_theta");
    TestConfig.with(
        now,
        "{'dtype': 'bfloat16', 'rope_parameters': {'rope_theta': 5e5, 'rope_type': 'default'}}");
    assertThat(TestConfig.parse(old)).isEqualTo(TestConfig.parse(now));
    assertThat(TestConfig.parse(now).dtype()).isEqualTo(DataType.BF16);
    assertThat(TestConfig.parse(now).layer().getFirst().rope().orElseThrow().theta())
        .isEqualTo(5e5);
  }

  @Test
  void biasesFollowTheFamily() {
    assertThat(llamaWith("{'attention_bias': true}").biases())
        .isEqualTo(new Config.Biases(true, true, false));
    assertThat(llamaWith("{'mlp_bias': true}").biases())
        .isEqualTo(new Config.Biases(false, false, true));
    assertThat(familyWith("qwen2", "{}").biases()).isEqualTo(new Config.Biases(true, false, false));
    assertThat(familyWith("qwen3", "{'attention_bias': true}").biases())
        .isEqualTo(new Config.Biases(true, true, false));
    assertThat(familyWith("mistral", "{'attention_bias': true}").biases())
        .isEqualTo(new Config.Biases(false, false, false));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "llama   | {'sliding_window': 8}                                                        | 0"
            + " 0 0",
        "mistral | {'sliding_window': 8}                                                        | 8"
            + " 8 8",
        "mistral | {'sliding_window': null}                                                     | 0"
            + " 0 0",
        "mistral | {}                                                                           |"
            + " 4096 4096 4096",
        "qwen2   | {'sliding_window': 8}                                                        | 0"
            + " 0 0",
        "qwen2   | {'sliding_window': 8, 'use_sliding_window': true, 'max_window_layers': 1}    | 0"
            + " 8 8",
        "qwen2   | {'sliding_window': 8, 'use_sliding_window': true}                            | 0"
            + " 0 0",
        "qwen3   | {'sliding_window': null, 'use_sliding_window': true, 'max_window_layers': 1} | 0"
            + " 0 0",
        "qwen3   | {'sliding_window': 8, 'use_sliding_window': true, 'max_window_layers': 0,"
            + " 'layer_types': ['full_attention', 'sliding_attention', 'full_attention']}       | 0"
            + " 8 0",
      })
  void windowsFollowTheFamily(String type, String json, String windows) {
    ObjectNode c = TestConfig.with(TestConfig.family(type), "{'num_hidden_layers': 3}");
    String got =
        String.join(
            " ",
            TestConfig.parse(TestConfig.with(c, json)).layer().stream()
                .map(l -> "" + l.window())
                .toList());
    assertThat(got).isEqualTo(windows);
  }

  @Test
  void qwen3HasItsOwnHeadDim() {
    assertThat(familyWith("qwen3", "{}").headDim()).isEqualTo(128);
    assertThat(familyWith("qwen3", "{'head_dim': 32}").queryDim()).isEqualTo(128);
  }

  @Test
  void rotarySettingsMayBeNestedByLayerType() {
    Config c =
        familyWith(
            "qwen3",
            "{'head_dim': 16, 'use_sliding_window': true, 'sliding_window': 8, 'layer_types':"
                + " ['full_attention', 'sliding_attention'], 'rope_parameters': {'full_attention':"
                + " {'rope_type': 'linear', 'factor': 2.0, 'rope_theta': 1e6}, 'sliding_attention':"
                + " {'rope_type': 'default', 'rope_theta': 1e4}}}");
    assertThat(c.layer().get(0).rope()).hasValue(new RopeConfig(1e6, 16, new RopeConfig.Linear(2)));
    assertThat(c.layer().get(1).rope()).hasValue(new RopeConfig(1e4, 16, new RopeConfig.Default()));
  }

  @Test
  void endTokensOfTheGenerationConfigComeFirst(@TempDir Path dir) throws Exception {
    Files.writeString(dir.resolve("config.json"), TestConfig.llama().toString());
    assertThat(Config.load(dir).eosIds()).containsExactly(2);
    Files.writeString(dir.resolve("generation_config.json"), "{\"eos_token_id\": [7, 9]}");
    assertThat(Config.load(dir).eosIds()).containsExactly(7, 9);
    Files.writeString(dir.resolve("generation_config.json"), "{\"temperature\": 0.6}");
    assertThat(Config.load(dir).eosIds()).containsExactly(2);
    Files.writeString(dir.resolve("generation_config.json"), "{\"eos_token_id\": 97}");
    assertThatThrownBy(() -> Config.load(dir))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("generation_config.json")
        .hasMessageContaining("eos_token_id is 97");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'hidden_size': 0}                    | hidden_size is 0",
        "{'hidden_size': -64}                  | hidden_size is -64",
        "{'hidden_size': 1000000000000000000}  | hidden_size is 1000000000000000000",
        "{'hidden_size': 2147483648}           | hidden_size is 2147483648",
        "{'hidden_size': 64.0}                 | hidden_size is 64.0",
        "{'hidden_size': '64'}                 | hidden_size is",
        "{'hidden_size': null}                 | hidden_size is null",
        "{'hidden_size': 66}                   | num_attention_heads is 4, expected a divisor of"
            + " hidden_size = 66",
        "{'num_attention_heads': 0}            | num_attention_heads is 0",
        "{'num_key_value_heads': 3}            | num_key_value_heads is 3, expected a divisor",
        "{'num_key_value_heads': 8}            | num_key_value_heads is 8",
        "{'num_key_value_heads': 0}            | num_key_value_heads is 0",
        "{'head_dim': 0}                       | head_dim is 0",
        "{'head_dim': 15}                      | head_dim is 15, expected an even number",
        "{'num_hidden_layers': 0}              | num_hidden_layers is 0",
        "{'num_hidden_layers': 1000000000}     | num_hidden_layers is 1000000000",
        "{'intermediate_size': 0}              | intermediate_size is 0",
        "{'vocab_size': -1}                    | vocab_size is -1",
        "{'vocab_size': true}                  | vocab_size is true",
        "{'rms_norm_eps': 0}                   | rms_norm_eps is 0",
        "{'rms_norm_eps': -1e-6}               | rms_norm_eps is -",
        "{'rms_norm_eps': NaN}                 | rms_norm_eps is",
        "{'rms_norm_eps': 1e-80}               | rms_norm_eps is",
        "{'rope_theta': 0}                     | rope_theta is 0",
        "{'rope_theta': NaN}                   | rope_theta is",
        "{'rope_theta': 1}                     | rope_theta is 1",
        "{'max_position_embeddings': 0}        | max_position_embeddings is 0",
        "{'max_position_embeddings': 1000000000000} | max_position_embeddings is 1000000000000",
        "{'rope_scaling': 'yarn'}              | rope_scaling is",
        "{'rope_scaling': {'type': 'linear'}}  | rope_scaling.factor is missing",
        "{'rope_scaling': {'type': 'linear', 'factor': -2}} | rope_scaling.factor is -2",
        "{'rope_scaling': {'rope_type': 'llama3', 'factor': 8, 'low_freq_factor': 4,"
            + " 'high_freq_factor': 1}} | rope_scaling.high_freq_factor is 1",
        "{'partial_rotary_factor': 1.5}        | partial_rotary_factor is 1.5",
        "{'tie_word_embeddings': 'yes'}        | tie_word_embeddings is",
        "{'eos_token_id': 97}                  | eos_token_id is 97",
        "{'eos_token_id': [2, -1]}             | eos_token_id is -1",
        "{'model_type': null}                  | model_type is missing, expected one of llama,"
            + " mistral, qwen2, qwen3",
        "{'architectures': []}                 | architectures is []",
        "{'architectures': [1]}                | architectures is 1",
        "{'dtype': 'int4'}                     | dtype is int4",
      })
  void aBadFieldIsNamed(String json, String message) {
    String field = json.substring(2, json.indexOf('\'', 2));
    String base = TestConfig.without(field).toString();
    // put together as text, since NaN is not a number that JSON can hold
    String whole =
        base.substring(0, base.length() - 1) + ", " + json.replace('\'', '"').substring(1);
    assertThatThrownBy(
            () -> Config.parse(whole.getBytes(StandardCharsets.UTF_8), null, "dir/config.json"))
        .isInstanceOf(BadModelException.class)
        .hasMessageStartingWith("dir/config.json: " + message);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{'model_type': 'gpt5'}                        | supported: llama, mistral, qwen2, qwen3",
        "{'architectures': ['LlamaModel']}             | supported for llama: LlamaForCausalLM",
        "{'hidden_act': 'mish'}                        | supported: silu",
        "{'rope_scaling': {'type': 'dynamic', 'factor': 2}} | rope_type 'dynamic' is not supported;"
            + " supported: default, linear, llama3, yarn",
        "{'rope_parameters': {'rope_type': 'longrope'}} | supported: default, linear, llama3, yarn",
        "{'partial_rotary_factor': 0.5}                | partial_rotary_factor is not supported",
      })
  void whatIsNotServedIsListed(String json, String message) {
    assertThatThrownBy(() -> llamaWith(json))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining(message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        "{",
        "[]",
        "null",
        "7",
        "{\"a\": 1} x",
        "{\"a\": 1, \"a\": 2}",
        "\uFEFF{}",
        "{\"a\": \u0000}",
        "nonsense\nline two"
      })
  void whatIsNoJsonObjectIsRefusedInOneLine(String text) {
    assertThatThrownBy(
            () -> Config.parse(text.getBytes(StandardCharsets.UTF_8), null, "config.json"))
        .isInstanceOf(BadModelException.class)
        .hasMessageStartingWith("config.json")
        .message()
        .doesNotContain("\n");
  }

  @Test
  void deepNestingIsRefused() {
    byte[] deep = ("{\"a\":" + "[".repeat(100_000)).getBytes(StandardCharsets.UTF_8);
    assertThatThrownBy(() -> Config.parse(deep, null, "config.json"))
        .isInstanceOf(BadModelException.class);
  }

  @Test
  void whatIsNoFileIsRefused(@TempDir Path dir) throws Exception {
    assertThatThrownBy(() -> Config.load(dir))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("no such file");
    Files.createDirectory(dir.resolve("config.json"));
    assertThatThrownBy(() -> Config.load(dir))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("not a regular file");
  }

  @Test
  void aHugeFileIsRefusedUnread(@TempDir Path dir) throws Exception {
    try (var f = new java.io.RandomAccessFile(dir.resolve("config.json").toFile(), "rw")) {
      f.setLength(200L << 20);
    }
    assertThatThrownBy(() -> Config.load(dir))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("209715200 bytes");
  }

  @Test
  void textsOfAStrangerStayOnOneLine() {
    assertThatThrownBy(
            () -> llamaWith("{'model_type': 'a\\nERROR forged\\u001b[31m" + "x".repeat(500) + "'}"))
        .isInstanceOf(UnsupportedModelException.class)
        .message()
        .doesNotContain("\n", "\u001b")
        .hasSizeLessThan(400);
  }
}
