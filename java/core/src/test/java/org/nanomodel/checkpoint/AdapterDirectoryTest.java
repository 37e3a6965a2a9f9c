package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.Adapter;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.LowRank;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;

/** Adapters that others made: their names, scales, and what is refused. */
class AdapterDirectoryTest {
  private static final String Q = "model.layers.0.self_attn.q_proj";
  private static final String DOWN = "model.layers.1.mlp.down_proj";

  private static Engine engine;

  @TempDir Path temp;
  private Path model;

  @BeforeAll
  static void openEngine() {
    engine = Engine.open();
  }

  @AfterAll
  static void closeEngine() {
    engine.close();
  }

  @BeforeEach
  void writeModel() throws IOException {
    model = new TinyModel(64, 96, 2, false).write(temp.resolve("model"));
  }

  private Path adapter(String config, Map<String, long[]> tensors) throws IOException {
    Path folder = Files.createDirectories(temp.resolve("adapter"));
    Files.writeString(folder.resolve("adapter_config.json"), config);
    var plan = new ArrayList<TensorSpec>();
    tensors.forEach((name, shape) -> plan.add(new TensorSpec(name, DType.F32, shape)));
    try (var writer = SafetensorsWriter.create(folder.resolve("adapter_model.safetensors"), plan)) {
      for (TensorSpec spec : plan) {
        var values = new float[(int) (spec.byteSize() / 4)];
        for (int i = 0; i < values.length; i++) {
          values[i] = (i % 7 - 3) / 16f;
        }
        writer.put(spec.name(), MemorySegment.ofArray(values));
      }
      writer.finish();
    }
    return folder;
  }

  private static Map<String, long[]> pair(String prefix, String suffix) {
    var tensors = new LinkedHashMap<String, long[]>();
    tensors.put(prefix + Q + ".lora_A" + suffix, new long[] {4, 64});
    tensors.put(prefix + Q + ".lora_B" + suffix, new long[] {64, 4});
    tensors.put(prefix + DOWN + ".lora_A" + suffix, new long[] {9, 96});
    tensors.put(prefix + DOWN + ".lora_B" + suffix, new long[] {64, 9});
    return tensors;
  }

  private LowRank part(Path folder, String module) {
    try (var source = ModelDirectory.open(model, engine);
        var adapter = AdapterDirectory.open(folder);
        var arena = Arena.ofShared()) {
      return adapter.over(source, source.config()).adapter(arena, module).orElseThrow();
    }
  }

  private String firstLogits(Adapter adapter) {
    try (var loaded = AutoNanoModel.load(model, EngineOptions.defaults(), adapter)) {
      return Arrays.toString(loaded.logits(new int[] {3, 5, 7}).toFloats());
    }
  }

  @ParameterizedTest
  @CsvSource({"base_model.model.,.weight", "base_model.model.,.default.weight", "'',.weight"})
  void theNamesThatPeftAndGptqModelWriteAreRead(String prefix, String suffix) throws IOException {
    Path folder =
        adapter("{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 6}", pair(prefix, suffix));
    assertThat(part(folder, Q).rank()).isEqualTo(4);
    assertThat(part(folder, Q).scale()).isEqualTo(1.5f);
    assertThat(firstLogits(Adapter.of(folder))).isNotEqualTo(firstLogits(Adapter.none()));
  }

  @Test
  void scalesFollowAlphaPatternAndRankStabilization() throws IOException {
    var tensors = pair("base_model.model.", ".weight");
    Path folder =
        adapter(
            """
            {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "rank_pattern": {"down_proj": 9},
             "alpha_pattern": {"mlp.down_proj": 27, "proj": 1}}
            """,
            tensors);
    assertThat(part(folder, DOWN).scale()).isEqualTo(3f);
    assertThat(part(folder, Q).scale()).isEqualTo(2f); // "proj" is no whole name
    adapter("{\"r\": 4, \"lora_alpha\": 6, \"use_rslora\": true}", tensors);
    assertThat(part(folder, Q).scale()).isEqualTo(3f);
    assertThat(part(folder, DOWN).scale()).isEqualTo(2f);
  }

  @Test
  void oneInTheModelsFolderRunsUnlessItIsSwitchedOff() throws IOException {
    Path folder = adapter("{\"lora_alpha\": 4}", pair("base_model.model.", ".weight"));
    String without = firstLogits(Adapter.stored());
    String with = firstLogits(Adapter.of(folder));
    AdapterDirectory.copy(folder, model);
    assertThat(firstLogits(Adapter.stored())).isEqualTo(with).isNotEqualTo(without);
    assertThat(firstLogits(Adapter.none())).isEqualTo(without);
  }

  @Test
  void floatModelsKeepTheirAdapterThroughAConversion() throws IOException {
    AdapterDirectory.copy(
        adapter("{\"lora_alpha\": 4}", pair("base_model.model.", ".weight")), model);
    try (var source = ModelDirectory.open(model, engine)) {
      FloatConversion.convert(
          source, engine, DataType.F32, temp.resolve("out"), 1L << 30, false, () -> false);
    }
    assertThat(AdapterDirectory.find(temp.resolve("out")))
        .hasValueSatisfying(found -> assertThat(part(found, Q).rank()).isEqualTo(4));
  }

  @Test
  void whatWouldBeLeftOutIsRefusedByName() throws IOException {
    var good = pair("base_model.model.", ".weight");
    for (String config :
        new String[] {
          "{\"peft_type\": \"IA3\"}",
          "{\"use_dora\": true}",
          "{\"bias\": \"all\"}",
          "{\"modules_to_save\": [\"lm_head\"]}"
        }) {
      Path folder = adapter(config, good);
      assertThatThrownBy(() -> firstLogits(Adapter.of(folder)))
          .as(config)
          .isInstanceOf(UnsupportedModelException.class)
          .hasMessageContaining("adapter_config.json");
    }
    var more = new LinkedHashMap<>(good);
    more.put("base_model.model.model.embed_tokens.lora_embedding_A", new long[] {4, 64});
    Path folder = adapter("{}", more);
    assertThatThrownBy(() -> firstLogits(Adapter.of(folder)))
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining("lora_embedding_A");
  }

  @Test
  void anAdapterOfAnotherModelIsRefused() throws IOException {
    for (var tensors :
        List.<Map<String, long[]>>of(
            Map.of("base_model.model.h.0.lora_A.weight", new long[] {4, 64}),
            Map.of("base_model.model." + Q + ".lora_A.weight", new long[] {4, 64}),
            pairOf(4, 32, 64),
            pairOf(4, 64, 63))) {
      Path folder = adapter("{}", tensors);
      assertThatThrownBy(() -> firstLogits(Adapter.of(folder)))
          .as(tensors.keySet().toString())
          .isInstanceOf(BadModelException.class);
    }
    assertThatThrownBy(() -> firstLogits(Adapter.of(temp.resolve("nowhere"))))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("nowhere");
  }

  private static Map<String, long[]> pairOf(long rank, long k, long n) {
    return Map.of(
        "base_model.model." + Q + ".lora_A.weight", new long[] {rank, k},
        "base_model.model." + Q + ".lora_B.weight", new long[] {n, rank});
  }
}
