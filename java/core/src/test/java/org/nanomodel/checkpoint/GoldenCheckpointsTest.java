package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.Activations;
import org.nanomodel.SharedData;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Scorer;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Checkpoints written by GPTQModel 7.3.4, compressed-tensors, MLX and Marlin's packer decode to the
 * very weights that these decode (expected.safetensors beside each: their own dequantization, and
 * logits of transformers in float32).
 */
class GoldenCheckpointsTest {
  private static Engine engine;

  @BeforeAll
  static void open() {
    var options = EngineOptions.defaults(); // the logits were made without rounding inputs
    engine = Engine.open(options.withActivations(Activations.NEAR_EXACT));
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "gptqmodel/awq_gemm",
        "gptqmodel/awq_gemv",
        "gptqmodel/awq_gemv_fast",
        "gptqmodel/b2_sym",
        "gptqmodel/b3_sym",
        "gptqmodel/b3_asym_v2",
        "gptqmodel/b3_p",
        "gptqmodel/b4_sym",
        "gptqmodel/b4_asym_v2",
        "gptqmodel/b4_dyn",
        "gptqmodel/b4_g-1",
        "gptqmodel/b4_g32_desc",
        "gptqmodel/b4_int16_orig",
        "gptqmodel/b4_int8_orig",
        "gptqmodel/b4_lmhead",
        "gptqmodel/b5_p",
        "gptqmodel/b8_int16_orig",
        "gptqmodel/b8_sym",
        "gptqmodel/b8_asym_v2",
        "gptqmodel/opt_awq",
        "gptqmodel/opt_gptq",
        "gptqmodel/qqq_channel",
        "gptqmodel/qqq_g128",
        "gptqmodel/rtn",
        "formats/ct_int4_asym_g64",
        "formats/ct_int4_sym_g128",
        "formats/ct_int8_asym_g128",
        "formats/ct_int8_sym_channel",
        "formats/ct_w8a8",
        "formats/marlin_channel",
        "formats/marlin_g128",
        "formats/mlx_3bit_g32",
        "formats/mlx_4bit_g64",
      })
  void weightsEqualBitForBitAndLogitsAgree(String name) {
    Path path = SharedData.require("golden/" + name);
    try (var model = ModelDirectory.open(path, engine);
        var expected = SafetensorsFile.open(path.resolve("expected.safetensors"))) {
      Set<String> modules = new HashSet<>();
      int exact = 0;
      for (TensorInfo tensor : expected.tensors()) {
        String module =
            tensor.name().replaceFirst("\\.(weight|weight\\.rows0_16|rowsum|colsum)$", "");
        if (!module.equals(tensor.name())) {
          modules.add(module);
        }
        exact += tensor.name().contains(".weight") ? 1 : 0;
      }
      assertThat(modules).isEqualTo(new HashSet<>(model.quantizedModules()));
      assertThat(exact).isPositive();
      modules.forEach(module -> compareWeight(model, expected, module));
      compareLogits(model, expected);
    }
  }

  private static void compareWeight(ModelDirectory model, SafetensorsFile expected, String module) {
    try (var arena = Arena.ofConfined()) {
      Tensor w = model.stored(arena, module).floats(arena, engine.ops());
      expected
          .find(module + ".weight")
          .ifPresent(info ->
              ReferenceDecoders.assertEqualFloats(
                  module, w.segment(), expected.segment(info.name())));
      expected
          .find(module + ".weight.rows0_16")
          .ifPresent(info ->
              ReferenceDecoders.assertEqualFloats(
                  module, w.rows(0, 16).segment(), expected.segment(info.name())));
      float[] values = w.toFloats();
      var rows = new double[(int) w.rows()];
      var columns = new double[(int) w.cols()];
      for (int i = 0; i < values.length; i++) {
        rows[(int) (i / w.cols())] += values[i];
        columns[(int) (i % w.cols())] += values[i];
      }
      assertClose(module + ".rowsum", rows, expected);
      assertClose(module + ".colsum", columns, expected);
    }
  }

  private static void assertClose(String name, double[] got, SafetensorsFile expected) {
    MemorySegment sums = expected.segment(name);
    assertThat(sums.byteSize()).as(name).isEqualTo(4L * got.length);
    for (int i = 0; i < got.length; i++) {
      assertThat(got[i])
          .as(name + "[" + i + "]")
          .isCloseTo(sums.get(ValueLayout.JAVA_FLOAT_UNALIGNED, 4L * i), within(1e-3));
    }
  }

  private static void compareLogits(ModelDirectory directory, SafetensorsFile expected) {
    int[] ids =
        Tensor.of(
                DataType.I64,
                expected.segment("input_ids"),
                expected.tensor("input_ids").elements())
            .toInts();
    MemorySegment logits = expected.segment("logits");
    try (var model = CausalModel.load(engine, directory.config(), directory);
        var scorer = new Scorer(model, engine.ops(), ids.length)) {
      int vocab = model.config().vocabSize();
      assertThat(logits.byteSize()).isEqualTo(4L * ids.length * vocab);
      var worst = new double[1];
      var seen = new int[1];
      scorer.run(
          ids,
          (first, rows) -> {
            float[] got = rows.toFloats();
            for (int i = 0; i < got.length; i++) {
              long at = 4L * ((long) first * vocab + i);
              double d = Math.abs(got[i] - logits.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at));
              worst[0] = Math.max(worst[0], Double.isNaN(d) ? Double.POSITIVE_INFINITY : d);
            }
            seen[0] += got.length;
          });
      assertThat(seen[0]).isEqualTo(ids.length * vocab);
      assertThat(worst[0]).as("largest difference of a logit").isLessThan(1e-3);
    }
  }
}
