package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.nanomodel.Adapter;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.CancelledException;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.checkpoint.CheckpointFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.LowRank;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Checkpoints with the adapters that EoRA makes for them. */
class AdapterJobTest {
  private static final TinyModel TINY = new TinyModel(64, 96, 2, false);
  private static final int[] IDS = {3, 1, 60, 17, 9, 33, 2, 2, 41, 8};

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
    model = TINY.write(temp.resolve("model"));
  }

  private static QuantizeConfig.Builder config(Method method) {
    return QuantizeConfig.builder().method(method).bits(3).groupSize(32).adapterRank(12);
  }

  private static QuantizeConfig.Builder awq() {
    return config(Method.AWQ).bits(4).sym(false);
  }

  private Path run(QuantizeConfig config, String output, QuantizeListener listener, Cancel cancel) {
    try (var source = ModelDirectory.open(model, engine)) {
      QuantizeJob.of(source, config, engine, temp.resolve(output))
          .calibration(GptqJobTest.calibration(source, 1))
          .listener(listener)
          .cancel(cancel)
          .overwrite(true)
          .run();
    }
    return temp.resolve(output);
  }

  private Path run(QuantizeConfig config, String output) {
    return run(config, output, QuantizeListener.NONE, new Cancel());
  }

  private static float[] logits(Path model, Adapter adapter) {
    try (var loaded = AutoNanoModel.load(model, EngineOptions.defaults(), adapter)) {
      return loaded.logits(IDS).toFloats();
    }
  }

  /** Error of logits by the float model's, squared. */
  private double error(Path of, Adapter adapter) {
    float[] exact = logits(model, Adapter.none());
    float[] got = logits(of, adapter);
    double sum = 0;
    for (int i = 0; i < exact.length; i++) {
      sum += (got[i] - exact[i]) * (double) (got[i] - exact[i]);
    }
    return sum;
  }

  @ParameterizedTest
  @EnumSource(
      value = Method.class,
      names = {"RTN", "GPTQ", "AWQ"})
  void theModelIsNearerToTheFloatOneWithItsAdapter(Method method) {
    var config = (method == Method.AWQ ? awq() : config(method)).build();
    Path made = run(config, "out");
    assertThat(error(made, Adapter.stored())).isLessThan(.8 * error(made, Adapter.none()));
    assertThat(logits(made, Adapter.of(made.resolve("adapter"))))
        .isEqualTo(logits(made, Adapter.stored()));
    assertThat(logits(made, Adapter.none())).isNotEqualTo(logits(made, Adapter.stored()));
  }

  @Test
  void theWholeRankGivesTheFloatModelBackHeadAndAll() {
    // As exactly as half floats hold A and B: 11 bits each, of weights that are 3 bits off.
    Path made = run(config(Method.GPTQ).adapterRank(64).lmHead(true).build(), "out");
    assertThat(error(made, Adapter.stored())).isLessThan(1e-4 * error(made, Adapter.none()));
  }

  @Test
  void theFilesAreThoseOfPeft() throws IOException {
    Path made = run(config(Method.GPTQ).build(), "out");
    var json = JsonFile.read(made.resolve("adapter/adapter_config.json"));
    assertThat(json.path("peft_type").asText()).isEqualTo("LORA");
    assertThat(json.path("r").asInt()).isEqualTo(12);
    assertThat(json.path("lora_alpha").asInt()).isEqualTo(12);
    assertThat(json.path("rank_pattern")).isEmpty();
    assertThat(json.path("target_modules")).hasSize(7);
    try (var file = SafetensorsFile.open(made.resolve("adapter/adapter_model.safetensors"))) {
      assertThat(file.tensors()).hasSize(2 * TINY.linears().size());
      String module = "base_model.model.model.layers.1.mlp.down_proj";
      assertThat(file.find(module + ".lora_A.weight").orElseThrow().shape())
          .containsExactly(12, 96);
      assertThat(file.find(module + ".lora_B.weight").orElseThrow().shape())
          .containsExactly(64, 12);
    }
    for (String name : new String[] {"quantize_config.json", "config.json"}) {
      assertThat(Files.readString(made.resolve(name))).doesNotContain("adapter");
    }
  }

  /** W of a module as the checkpoint and its adapter have it together. */
  private static float[] merged(Weights weights, Arena arena, String module) {
    LowRank part = weights.adapter(arena, module).orElseThrow();
    assertThat(part.scale()).isEqualTo(1f);
    Tensor w = Tensor.allocate(arena, DataType.F32, part.n(), part.k());
    engine.ops().dequantize(w, (QuantizedWeight) weights.linear(arena, module));
    new Eora.Halves(
            Tensor.of(DataType.F16, part.a().data(), part.rank(), part.k()),
            Tensor.of(DataType.F16, part.b().data(), part.n(), part.rank()))
        .addTo(engine.ops(), w);
    return w.toFloats();
  }

  @Test
  void theAdapterIsMadeForTheWeightsOfTheCheckpoint() {
    Path made = run(config(Method.RTN).build(), "out");
    try (var source = ModelDirectory.open(model, engine);
        var quantized = ModelDirectory.open(made, engine);
        var adapter = AdapterDirectory.open(made.resolve("adapter"));
        var arena = Arena.ofShared()) {
      Weights with = adapter.over(quantized, quantized.config());
      for (String module : TINY.linears()) {
        float[] exact = source.tensor(module + ".weight").toFloats();
        float[] near = merged(with, arena, module);
        Tensor w = Tensor.allocate(arena, DataType.F32, exact.length);
        engine
            .ops()
            .dequantize(
                w.reshape(quantized.rows(module), quantized.columns(module)),
                (QuantizedWeight) quantized.linear(arena, module));
        assertThat(squares(exact, near)).isLessThan(squares(exact, w.toFloats()));
      }
    }
  }

  private static double squares(float[] a, float[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (a[i] - b[i]) * (double) (a[i] - b[i]);
    }
    return sum;
  }

  @ParameterizedTest
  @EnumSource(
      value = Method.class,
      names = {"RTN", "GPTQ", "AWQ"})
  void anInterruptedJobEndsByteEqual(Method method) throws IOException {
    var config = (method == Method.AWQ ? awq() : config(method)).build();
    Path whole = run(config, "whole");
    var cancel = new Cancel();
    var listener =
        new QuantizeListener() {
          @Override
          public void layerFinished(int number, Progress progress) {
            cancel.raise();
          }
        };
    assertThatThrownBy(() -> run(config, "out", listener, cancel))
        .isInstanceOf(CancelledException.class);
    Path made = run(config, "out");
    assertThat(QuantizeJobTest.contents(made)).isEqualTo(QuantizeJobTest.contents(whole));
  }

  @Test
  void dynamicChoosesRanksAndIsNotWrittenDown() throws IOException {
    var dynamic = JsonFile.object();
    dynamic.putObject(".*down_proj").putObject("adapter").put("rank", 20);
    dynamic.putObject(".*k_proj").put("bits", 8).putObject("adapter").put("rank", 0);
    dynamic.putObject("-:.*v_proj");
    Path made = run(config(Method.GPTQ).dynamic(dynamic).build(), "out");
    var json = JsonFile.read(made.resolve("adapter/adapter_config.json"));
    assertThat(json.path("r").asInt()).isEqualTo(20);
    assertThat(json.path("rank_pattern").path("model.layers.0.mlp.up_proj").asInt()).isEqualTo(12);
    assertThat(json.path("alpha_pattern")).isEqualTo(json.path("rank_pattern"));
    assertThat(StreamSupport.stream(json.path("target_modules").spliterator(), false))
        .extracting(node -> node.asText())
        .containsExactly("down_proj", "gate_proj", "o_proj", "q_proj", "up_proj");
    var saved = JsonFile.read(made.resolve("quantize_config.json")).path("dynamic");
    assertThat(saved.path(".*k_proj").path("bits").asInt()).isEqualTo(8);
    assertThat(saved.toString()).doesNotContain("adapter");
    assertThat(error(made, Adapter.stored())).isLessThan(error(made, Adapter.none()));
  }

  @Test
  void whatCannotBeIsRefused() {
    assertThatThrownBy(() -> config(Method.SMOOTHQUANT).bits(8).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("adapter: method smoothquant makes none");
    assertThatThrownBy(() -> config(Method.GPTQ).adapterRank(-1).build())
        .hasMessageContaining("adapter rank -1");
    var dynamic = JsonFile.object();
    dynamic.putObject(".*").putObject("adapter").put("rank", 1.5);
    var config = config(Method.GPTQ).dynamic(dynamic).build();
    assertThatThrownBy(() -> run(config, "out")).hasMessageContaining("adapter.rank is 1.5");
    try (var source = ModelDirectory.open(model, engine)) {
      var job = QuantizeJob.of(source, config(Method.RTN).build(), engine, temp.resolve("out"));
      assertThatThrownBy(job::run).hasMessageContaining("an adapter needs calibration data");
    }
  }

  @Test
  void anAdapterGoesWithItsCheckpointAndNeverStaysWithAnother() throws IOException {
    Path made = run(config(Method.GPTQ).build(), "out");
    try (var source = ModelDirectory.open(made, engine)) {
      CheckpointFiles.copy(source, temp.resolve("copy"));
    }
    assertThat(logits(temp.resolve("copy"), Adapter.stored()))
        .isEqualTo(logits(made, Adapter.stored()));
    Files.writeString(made.resolve("adapter/mine.txt"), "kept");
    run(config(Method.RTN).adapterRank(0).build(), "out");
    assertThat(AdapterDirectory.find(made)).isEqualTo(Optional.empty());
    assertThat(made.resolve("adapter/mine.txt")).hasContent("kept");
    run(config(Method.RTN).build(), "out");
    assertThat(AdapterDirectory.find(made)).isPresent();
    assertThat(error(made, Adapter.stored())).isCloseTo(0, within(error(made, Adapter.none())));
  }
}
