package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.GptqConfig;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Block;
import org.nanomodel.model.TokenEmbedding;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

class GptqJobTest {
  private static final TinyModel TINY = new TinyModel(64, 96, 3, false);
  private static final QuantizeConfig CONFIG = config(GptqConfig.DEFAULT);

  private static Engine engine;

  @TempDir Path temp;
  private Path model;

  private static QuantizeConfig config(GptqConfig gptq) {
    return builder().gptq(gptq).build();
  }

  private static QuantizeConfig.Builder builder() {
    return QuantizeConfig.builder().method(Method.GPTQ).groupSize(32);
  }

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

  static Calibration calibration(ModelDirectory source, long seed) {
    var random = new Random(seed);
    var rows = new ArrayList<int[]>();
    for (int i = 0; i < 24; i++) {
      rows.add(random.ints(12 + random.nextInt(50), 0, TinyModel.VOCAB).toArray());
    }
    var data = TextData.ofIds("random", rows, DataOptions.ALL);
    return Calibration.of(
        data, Optional.empty(), source.config(), CalibrationOptions.DEFAULT.withBatchSize(5));
  }

  private QuantizeJob job(ModelDirectory source, QuantizeConfig config, String output) {
    return QuantizeJob.of(source, config, engine, temp.resolve(output))
        .calibration(calibration(source, 1));
  }

  private QuantizeResult run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      return job(source, config, output).run();
    }
  }

  private void interruptAfter(int layer, QuantizeConfig config, String output) {
    var cancel = new Cancel();
    var listener =
        new QuantizeListener() {
          @Override
          public void layerFinished(int number, Progress progress) {
            if (number == layer) {
              cancel.raise();
            }
          }
        };
    try (var source = ModelDirectory.open(model, engine)) {
      var job = job(source, config, output).cancel(cancel).listener(listener);
      assertThatThrownBy(job::run).isInstanceOf(CancelledException.class);
    }
  }

  /**
   * Mean squared error of a group's outputs over the calibration, on the inputs of the float path.
   */
  private double outputError(Path quantized) {
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(quantized, engine);
        var stage =
            new BlockStage(
                engine.ops(),
                source.config(),
                TextChunks.of(calibration(source, 1)),
                Optional.empty());
        var states = stage.embed(source);
        var exact = block(source, source);
        var coded = block(source, made)) {
      var outputs = new ArrayList<float[]>();
      for (Block block : List.of(exact, coded)) {
        for (var chunk : stage.chunks()) {
          Tensor x = stage.copy(states.of(chunk));
          stage.run(stage.ops(java.util.Map.of()), block, x, chunk.lengths());
          outputs.add(x.toFloats());
        }
      }
      double error = 0;
      for (int c = 0; c < outputs.size() / 2; c++) {
        float[] a = outputs.get(c);
        float[] b = outputs.get(c + outputs.size() / 2);
        for (int i = 0; i < a.length; i++) {
          error += (a[i] - b[i]) * (a[i] - b[i]);
        }
      }
      return error;
    }
  }

  private static Block block(ModelDirectory source, ModelDirectory weights) {
    return source.config().family().blocks().load(engine, source.config(), weights, 0);
  }

  @ParameterizedTest
  @CsvSource({
    "2,32,true,false,true,gptq",
    "3,32,true,false,true,gptq",
    "4,32,true,false,true,gptq",
    "4,-1,true,false,true,gptq",
    "4,32,false,false,true,gptq_v2",
    "4,32,true,true,true,gptq",
    "4,32,true,false,false,gptq",
    "4,40,true,false,true,gptq",
    "4,32,false,false,true,gemm"
  })
  void theLayerIsNearerToTheFloatOneThanByRounding(
      int bits, long group, boolean sym, boolean descAct, boolean sequential, String format) {
    var config =
        builder()
            .bits(bits)
            .groupSize(group)
            .sym(sym)
            .descAct(descAct)
            .format(Format.of(format))
            .gptq(GptqConfig.DEFAULT.withTrueSequential(sequential));
    var result = run(config.build(), "gptq");
    run(config.method(Method.RTN).descAct(false).build(), "rtn");
    assertThat(outputError(temp.resolve("gptq")))
        .isLessThan(0.9 * outputError(temp.resolve("rtn")));
    assertThat(result.modules()).hasSize(21);
    assertThat(result.modules())
        .allSatisfy(m -> {
          assertThat(m.loss()).isPositive();
          assertThat(m.damp()).isEqualTo(.05);
          assertThat(m.fallback()).isEmpty();
        });
  }

  @Test
  void theFirstGroupIsGptqOfTheNormedEmbeddings() {
    run(CONFIG, "out");
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("out"), engine);
        var arena = Arena.ofConfined();
        var embedding = TokenEmbedding.load(engine, source.config(), source);
        var gram = new Gram(64)) {
      var ops = engine.ops();
      for (var chunk : TextChunks.of(calibration(source, 1)).chunks()) {
        Tensor x = Tensor.allocate(arena, DataType.F32, chunk.tokens(), 64);
        Tensor ids = Tensor.ofInts(arena, chunk.ids());
        embedding.forward(ops, x, ids, ids); // no learned positions: the last is not read
        ops.rmsNorm(x, x, source.tensor("model.layers.0.input_layernorm.weight"), 1e-6f);
        gram.add(ops, x);
      }
      var options = GptqOptions.of(4, 32);
      var factor = Gptq.factor(arena, ops, gram, options);
      for (String name : List.of("q_proj", "k_proj", "v_proj")) {
        String module = "model.layers.0.self_attn." + name;
        var expected =
            Gptq.quantize(arena, ops, source.tensor(module + ".weight"), factor, options).weight();
        var got = (QuantizedWeight) made.linear(arena, module);
        assertThat(got.codes().mismatch(expected.codes())).isEqualTo(-1);
        assertThat(got.scales().mismatch(expected.scales())).isEqualTo(-1);
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"0,true,false", "1,true,false", "1,false,false", "1,true,true"})
  void anInterruptedJobGoesOnAndEndsByteEqual(int layer, boolean sequential, boolean descAct)
      throws IOException {
    var config =
        builder()
            .descAct(descAct)
            .lmHead(true)
            .gptq(GptqConfig.DEFAULT.withTrueSequential(sequential))
            .build();
    run(config, "whole");
    interruptAfter(layer, config, "out");
    var resumed = run(config, "out");
    assertThat(QuantizeJobTest.contents(temp.resolve("out")))
        .isEqualTo(QuantizeJobTest.contents(temp.resolve("whole")));
    assertThat(resumed.modules()).hasSize(22);
    assertThat(resumed.modules().getLast().name()).isEqualTo("lm_head");
  }

  @Test
  void hiddenStatesOnTheDiskChangeNothing() throws IOException {
    run(CONFIG, "whole");
    Path folder = temp.resolve("folder");
    try (var source = ModelDirectory.open(model, engine)) {
      job(source, CONFIG, "out").offloadToDisk(folder).run();
      job(source, CONFIG, "beside").offloadToDisk(null).run();
    }
    assertThat(folder).isEmptyDirectory();
    var whole = QuantizeJobTest.contents(temp.resolve("whole"));
    assertThat(QuantizeJobTest.contents(temp.resolve("out"))).isEqualTo(whole);
    assertThat(QuantizeJobTest.contents(temp.resolve("beside"))).isEqualTo(whole);
  }

  @Test
  void otherDataOrOptionsAreAnotherJob() throws IOException {
    interruptAfter(0, CONFIG, "out");
    try (var source = ModelDirectory.open(model, engine)) {
      var other =
          QuantizeJob.of(source, CONFIG, engine, temp.resolve("out"))
              .calibration(calibration(source, 2));
      assertThatThrownBy(other::run).hasMessageContaining("calibration.sha256 was");
      var batched =
          QuantizeJob.of(source, CONFIG, engine, temp.resolve("out"))
              .calibration(
                  Calibration.of(
                      TextData.ofIds("rows", calibration(source, 1).rows(), DataOptions.ALL),
                      Optional.empty(),
                      source.config()));
      assertThatThrownBy(batched::run).hasMessageContaining("calibration.batch_size was 5");
      var none = QuantizeJob.of(source, CONFIG, engine, temp.resolve("out"));
      assertThatThrownBy(none::run).hasMessageContaining("needs calibration data");
    }
    assertThatThrownBy(() -> run(config(GptqConfig.DEFAULT.withDamp(.1, .01)), "out"))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("config.damp_percent was 0.05 and is now 0.1");
    assertThatThrownBy(() -> run(config(GptqConfig.DEFAULT.withTrueSequential(false)), "out"))
        .hasMessageContaining("config.true_sequential was true");
  }

  @Test
  void modulesAndLayersThatStayInFloatArePassedThrough() {
    var dynamic = JsonFile.object();
    dynamic.putObject("-:model\\.layers\\.1\\.");
    dynamic.putObject("-:.*k_proj");
    dynamic
        .putObject("+:.*down_proj")
        .put("bits", 8)
        .put("desc_act", true)
        .put("damp_percent", .2)
        .put("mse", 2.4);
    var result = run(builder().dynamic(dynamic).build(), "out");
    assertThat(result.modules()).hasSize(12).noneMatch(m -> m.name().contains("k_proj"));
    assertThat(result.modules().get(5).damp()).isEqualTo(.2);
    assertThat(result.modules().get(5).bits()).isEqualTo(8);
    dynamic.putObject("+:.*up_proj").put("mse", "much");
    assertThatThrownBy(() -> run(builder().dynamic(dynamic).build(), "bad"))
        .hasMessageContaining("up_proj")
        .hasMessageContaining("mse is \"much\", expected a number");
  }

  @Test
  void whatAJobNeedsIsEstimatedBeforeItBegins() {
    try (var source = ModelDirectory.open(model, engine)) {
      var inMemory = job(source, CONFIG, "out").estimate();
      var onDisk = job(source, CONFIG, "out").offloadToDisk(null).estimate();
      long states = 4 * calibration(source, 1).tokens() * (64 + 96);
      assertThat(inMemory.memoryBytes() - onDisk.memoryBytes()).isEqualTo(states);
      assertThat(onDisk.diskBytes() - inMemory.diskBytes()).isEqualTo(states);
      assertThat(inMemory.seconds()).isPositive().isFinite();
    }
  }

  @Test
  void theCheckpointSaysHowItWasMade() throws IOException {
    run(CONFIG, "out");
    var meta = JsonFile.read(temp.resolve("out/quantize_config.json")).path("meta");
    assertThat(meta.path("algorithm").asText()).isEqualTo("gptq");
    assertThat(meta.path("damp_percent").asDouble()).isEqualTo(.05);
    assertThat(meta.path("act_group_aware").asBoolean()).isTrue();
    var log = Files.readAllLines(temp.resolve("out/quant_log.csv"));
    assertThat(log.getFirst()).startsWith("layer,module,loss,samples,damp,time");
    assertThat(log).hasSize(22);
    try (var source = ModelDirectory.open(model, engine)) {
      long tokens = calibration(source, 1).tokens();
      assertThat(log.get(1)).contains("q_proj").contains("," + tokens + ",0.05000,");
    }
  }

  @Test
  void configsThatContradictThemselvesAreRefused() {
    assertThatThrownBy(
            () -> builder().descAct(true).gptq(GptqConfig.DEFAULT.withActGroupAware(true)).build())
        .hasMessageContaining("exclude each other");
    assertThatThrownBy(() -> GptqConfig.DEFAULT.withDamp(1, 0))
        .hasMessageContaining("damp_percent");
    assertThatThrownBy(() -> builder().descAct(true).format(Format.GEMM).build())
        .hasMessageContaining("format gemm cannot write");
    assertThatThrownBy(() -> builder().method(Method.RTN).descAct(true).build())
        .hasMessageContaining("does not use");
  }

  @Test
  void linearsKeepTheirBiasWhenTheirWeightIsReplaced() {
    try (var source = ModelDirectory.open(model, engine);
        var arena = Arena.ofConfined();
        Linear linear =
            Linear.pack(
                engine,
                "m",
                source.linear(arena, "model.layers.0.self_attn.q_proj"),
                Tensor.ofFloats(arena, new float[64], 64).segment());
        Linear other = linear.withWeight(source.linear(arena, "model.layers.0.self_attn.o_proj"))) {
      assertThat(other.modules()).isEqualTo(linear.modules());
      assertThat(other.bytes()).isEqualTo(linear.bytes());
      assertThatThrownBy(
              () -> linear.withWeight(source.linear(arena, "model.layers.0.mlp.gate_proj")))
          .isInstanceOf(IllegalArgumentException.class);
    }
  }
}
