package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.checkpoint.ReferenceDecoders;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Round to nearest in every format: what is written holds the codes that were found, and decoders
 * written independently of this program (golden/reference) make the same weights of it.
 */
class FormatsTest {
  private static final TinyModel TINY = new TinyModel(256, 512, 1, false);

  private static Engine engine;
  @TempDir static Path temp;
  private static Path model;

  record Case(Format format, int bits, long group, boolean sym, boolean lmHead) {
    Path output() {
      return temp.resolve(format + "-" + bits + "-" + group + "-" + sym);
    }

    QuantizeConfig config() {
      return QuantizeConfig.builder()
          .format(format)
          .bits(bits)
          .groupSize(group)
          .sym(sym)
          .lmHead(lmHead)
          .build();
    }
  }

  static Stream<Case> cases() {
    return Stream.of(
        new Case(Format.GPTQ, 3, 32, true, false),
        new Case(Format.GPTQ_V2, 4, 64, false, true),
        new Case(Format.GEMM, 4, 128, false, false),
        new Case(Format.GEMV, 4, 32, false, true),
        new Case(Format.GEMV, 4, 64, true, false),
        new Case(Format.GEMV, 4, -1, false, false),
        new Case(Format.GEMV_FAST, 4, 128, false, false),
        new Case(Format.GEMV_FAST, 4, 32, true, false),
        new Case(Format.MARLIN, 4, -1, true, false),
        new Case(Format.MARLIN, 4, 128, true, true),
        new Case(Format.QQQ, 4, -1, true, false),
        new Case(Format.COMPRESSED_TENSORS, 4, 128, true, false),
        new Case(Format.COMPRESSED_TENSORS, 3, 32, false, false),
        new Case(Format.COMPRESSED_TENSORS, 8, -1, false, true),
        new Case(Format.INT_QUANTIZED, 8, -1, true, false),
        new Case(Format.MLX, 4, 64, false, false),
        new Case(Format.MLX, 3, 32, true, true),
        new Case(Format.MLX, 8, 128, false, false));
  }

  @BeforeAll
  static void write() throws IOException {
    engine = Engine.open();
    model = TINY.write(temp.resolve("floats"));
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static void run(QuantizeConfig config, Path output) {
    try (var source = ModelDirectory.open(model, engine)) {
      if (!Files.exists(output)) {
        QuantizeJob.of(source, config, engine, output).run();
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void whatIsWrittenHoldsTheCodesOfRtn(Case c) {
    run(c.config(), c.output());
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(c.output(), engine);
        var arena = Arena.ofConfined()) {
      var modules = new ArrayList<>(TINY.linears());
      if (c.lmHead()) {
        modules.add("lm_head");
      }
      assertThat(made.quantizedModules()).containsExactlyInAnyOrderElementsOf(modules);
      for (var planned : QuantizePlan.of(source, c.config()).modules()) {
        Tensor w = source.tensor(planned.name() + ".weight");
        var expected = Rtn.quantize(arena, engine.ops(), w, planned.scheme(), planned.scaleType());
        var got = (QuantizedWeight) made.linear(arena, planned.name());
        assertThat(got.groupSize()).isEqualTo(expected.groupSize());
        assertThat(got.codes().mismatch(expected.codes())).as(planned.name()).isEqualTo(-1);
        assertThat(got.zeros().mismatch(expected.zeros())).as(planned.name()).isEqualTo(-1);
        assertThat(got.scales().mismatch(expected.scales())).as(planned.name()).isEqualTo(-1);
      }
      var size = ModelSize.of(made);
      var plan = QuantizePlan.of(source, c.config());
      assertThat(size.parameters()).isEqualTo(ModelSize.of(source).parameters());
      assertThat(size.bytes()).isEqualTo(plan.bytes());
      assertThat(size.bpw()).isEqualTo(plan.bpw());
    }
  }

  /** Rounding to int8 on the way changes a weight by up to half a step of its row. */
  @Test
  void qqqInGroupsIsNearTheWeightsOfRtn() {
    var config = QuantizeConfig.builder().format(Format.QQQ).build();
    run(config, temp.resolve("qqq-128"));
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("qqq-128"), engine);
        var arena = Arena.ofConfined()) {
      for (var planned : QuantizePlan.of(source, config).modules()) {
        Tensor w = source.tensor(planned.name() + ".weight");
        var rtn = Rtn.quantize(arena, engine.ops(), w, planned.scheme(), planned.scaleType());
        var got = (QuantizedWeight) made.linear(arena, planned.name());
        assertThat(got.bits()).isEqualTo(8);
        float[] a = floats(arena, rtn);
        float[] b = floats(arena, got);
        for (int i = 0; i < a.length; i++) {
          float step = got.scales().getAtIndex(ValueLayout.JAVA_FLOAT, i / got.k());
          assertThat(Math.abs(a[i] - b[i])).isLessThanOrEqualTo(0.57f * step); // and 127 * 2^-11
        }
      }
    }
  }

  private static float[] floats(Arena arena, QuantizedWeight q) {
    Tensor f32 = Tensor.allocate(arena, DataType.F32, q.n(), q.k());
    engine.ops().dequantize(f32, q);
    return f32.toFloats();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "gemm | 3 | 128 | true | it holds 4 bits, not 3",
        "gemv | 4 | 16 | true | it holds groups of 32, 64, 128 and more, not 16",
        "marlin | 4 | 128 | false | it has no zero points",
        "marlin | 8 | 128 | true | it holds 4 bits, not 8",
        "qqq | 4 | 64 | true | it holds groups of 128 and whole rows (-1), not 64",
        "int-quantized | 8 | 128 | true | it holds a scale a row",
        "int-quantized | 4 | -1 | true | it holds 8 bits, not 4",
        "mlx | 4 | -1 | true | it holds groups of 32, 64 or 128, not -1",
        "gptq | 4 | 128 | false | use format gptq_v2",
      })
  void aSchemeThatAFormatCannotHoldIsRefused(
      String format, int bits, long group, boolean sym, String why) {
    var builder =
        QuantizeConfig.builder().format(Format.of(format)).bits(bits).groupSize(group).sym(sym);
    assertThatThrownBy(builder::build)
        .isInstanceOf(NanoModelException.class)
        .hasMessageContainingAll("format " + format, why);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "gemm | 4 | 96 | group_size 96 does not divide its 256 columns",
        "compressed-tensors | 4 | 96 | group_size 96 does not divide its 256 columns",
        "gemv | 4 | 512 | |",
      })
  void aShapeThatAFormatCannotHoldIsRefusedByModule(
      String format, int bits, long group, String why) {
    var config =
        QuantizeConfig.builder().format(Format.of(format)).bits(bits).groupSize(group).build();
    try (var source = ModelDirectory.open(model, engine)) {
      if (why == null) {
        assertThat(QuantizePlan.of(source, config).modules()).isNotEmpty();
        return;
      }
      assertThatThrownBy(() -> QuantizePlan.of(source, config))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContainingAll("model.layers.0.self_attn.q_proj", "format " + format, why);
    }
  }

  @Test
  void independentDecodersMakeTheSameWeights() throws Exception {
    var directories = new ArrayList<Path>();
    cases()
        .forEach(c -> {
          run(c.config(), c.output());
          directories.add(c.output());
        });
    run(QuantizeConfig.builder().format(Format.QQQ).build(), temp.resolve("qqq-128"));
    directories.add(temp.resolve("qqq-128"));
    ReferenceDecoders.decode(directories);
    for (Path directory : directories) {
      ReferenceDecoders.assertSameWeights(engine, directory);
    }
  }
}
