package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.Method;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Block;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.tensor.Tensor;

class AwqJobTest {
  private static final TinyModel TINY = new TinyModel(64, 96, 3, false);

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

  private static QuantizeConfig.Builder builder() {
    return QuantizeConfig.builder().method(Method.AWQ).groupSize(32).sym(false);
  }

  private QuantizeJob job(ModelDirectory source, QuantizeConfig config, String output) {
    return QuantizeJob.of(source, config, engine, temp.resolve(output))
        .calibration(GptqJobTest.calibration(source, 1));
  }

  private QuantizeResult run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      return job(source, config, output).run();
    }
  }

  /** Squared error of the first block's output over the calibration. */
  private double outputError(String quantized) {
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve(quantized), engine);
        var stage =
            new BlockStage(
                engine.ops(),
                source.config(),
                TextChunks.of(GptqJobTest.calibration(source, 1)),
                Optional.empty());
        var states = stage.embed(source);
        var exact = source.config().family().blocks().load(engine, source.config(), source, 0);
        var coded = source.config().family().blocks().load(engine, source.config(), made, 0)) {
      double error = 0;
      for (var chunk : stage.chunks()) {
        var outputs = new ArrayList<float[]>();
        for (Block block : List.of(exact, coded)) {
          Tensor x = stage.copy(states.of(chunk));
          stage.run(stage.ops(Map.of()), block, x, chunk.lengths());
          outputs.add(x.toFloats());
        }
        for (int i = 0; i < outputs.getFirst().length; i++) {
          double d = outputs.get(0)[i] - outputs.get(1)[i];
          error += d * d;
        }
      }
      return error;
    }
  }

  @ParameterizedTest
  @CsvSource({"4,32,false,gemm", "4,32,true,gemm", "3,32,false,gptq_v2", "2,16,true,gptq"})
  void theLayerIsNearerToTheFloatOneThanByRounding(
      int bits, long group, boolean sym, String format) {
    var config = builder().bits(bits).groupSize(group).sym(sym).format(Format.of(format));
    var result = run(config.build(), "awq");
    run(config.method(Method.RTN).build(), "rtn");
    assertThat(outputError("awq")).isLessThan(0.9 * outputError("rtn"));
    assertThat(result.modules()).hasSize(21);
    assertThat(result.modules())
        .allSatisfy(m -> {
          assertThat(m.loss()).isPositive();
          assertThat(m.samples()).isPositive();
        });
  }

  @Test
  void normsTakeTheScalesAndAllElseStays() {
    run(builder().build(), "awq");
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("awq"), engine)) {
      assertThat(made.quantization().orElseThrow().toString()).contains("gemm");
      for (String name : List.of("input_layernorm", "post_attention_layernorm")) {
        String norm = "model.layers.1." + name + ".weight";
        assertThat(made.bytes(norm).mismatch(source.bytes(norm))).isNotEqualTo(-1);
      }
      for (String name : List.of("model.norm.weight", "model.embed_tokens.weight")) {
        assertThat(made.bytes(name).mismatch(source.bytes(name))).isEqualTo(-1);
      }
    }
  }

  @Test
  void modulesThatStayInFloatAreScaledWithTheirGroup() {
    var dynamic = JsonFile.object();
    dynamic.putObject("-:.*k_proj");
    dynamic.putObject("-:.*up_proj");
    dynamic.putObject("-:model\\.layers\\.2\\.");
    dynamic.putObject("+:.*down_proj").put("group_size", 16);
    var config = builder().dynamic(dynamic);
    var result = run(config.build(), "awq");
    assertThat(result.modules()).hasSize(10);
    run(config.method(Method.RTN).format(Format.GEMM).build(), "rtn");
    assertThat(outputError("awq")).isLessThan(0.9 * outputError("rtn"));
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("awq"), engine)) {
      String scaled = "model.layers.0.self_attn.k_proj.weight";
      assertThat(made.bytes(scaled).mismatch(source.bytes(scaled))).isNotEqualTo(-1);
      String whole = "model.layers.2.input_layernorm.weight";
      assertThat(made.bytes(whole).mismatch(source.bytes(whole))).isEqualTo(-1);
    }
  }

  @ParameterizedTest
  @CsvSource({"0", "1"})
  void anInterruptedJobGoesOnAndEndsByteEqual(int layer) throws IOException {
    var config = builder().lmHead(true).build();
    run(config, "whole");
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
      var job = job(source, config, "out").cancel(cancel).listener(listener);
      assertThatThrownBy(job::run).isInstanceOf(CancelledException.class);
      job(source, config, "out").offloadToDisk(null).run();
    }
    assertThat(QuantizeJobTest.contents(temp.resolve("out")))
        .isEqualTo(QuantizeJobTest.contents(temp.resolve("whole")));
  }

  @Test
  void theFormatOfFourBitsIsGemmUnlessAnotherIsNamed() {
    assertThat(builder().build().format()).isEqualTo(Format.GEMM);
    assertThat(builder().format(Format.GEMV).build().format()).isEqualTo(Format.GEMV);
    assertThat(builder().bits(3).build().format()).isEqualTo(Format.GPTQ_V2);
    assertThatThrownBy(() -> builder().bits(3).format(Format.GEMM).build())
        .hasMessageContaining("gemm");
  }

  @Test
  void queriesAndKeysAreNotClipped() {
    assertThat(List.of("m.q_proj", "m.k_proj", "m.query_key_value", "m.Wqkv", "attn.c_attn"))
        .noneMatch(Awq::clips);
    assertThat(List.of("m.v_proj", "m.o_proj", "mlp.up_proj", "mlp.down_proj", "fc1", "out_proj"))
        .allMatch(Awq::clips);
  }
}
