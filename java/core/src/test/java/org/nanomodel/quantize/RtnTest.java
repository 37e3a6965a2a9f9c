package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

class RtnTest {
  private static Engine engine;

  @BeforeAll
  static void open() {
    engine = Engine.open();
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  /**
   * GPTQModel 7.3.4 quantized one model with RTN (golden rtn) and left one of its modules in float
   * in another checkpoint (golden b4_dyn). It takes codes with the float32 scale and rounds that to
   * float16 afterwards, while ours are taken with the rounded scale: a code may differ by one where
   * w / s lies within 2^-11 * 8 of a half.
   */
  @Test
  void codesAgreeWithGptqModels() {
    String module = "model.layers.1.mlp.gate_proj";
    try (var floats = ModelDirectory.open(SharedData.require("golden/gptqmodel/b4_dyn"), engine);
        var golden = ModelDirectory.open(SharedData.require("golden/gptqmodel/rtn"), engine);
        var arena = Arena.ofConfined()) {
      var stored = (FloatWeight) floats.linear(arena, module);
      Tensor w = Tensor.allocate(arena, DataType.F32, stored.n(), stored.k());
      engine.ops().convert(w, Tensor.of(stored.type(), stored.data(), stored.n(), stored.k()));
      var theirs = (QuantizedWeight) golden.linear(arena, module);
      var ours =
          Rtn.quantize(arena, engine.ops(), w, new ModuleScheme(4, 128, true, false), DataType.F16);

      assertThat(ours.scales().mismatch(theirs.scales())).isEqualTo(-1);
      assertThat(ours.zeros().mismatch(theirs.zeros())).isEqualTo(-1);
      long differ = 0;
      for (long i = 0; i < ours.n() * ours.k(); i++) {
        int d =
            ours.codes().get(ValueLayout.JAVA_BYTE, i)
                - theirs.codes().get(ValueLayout.JAVA_BYTE, i);
        if (d != 0) {
          differ++;
          long n = i / ours.k();
          long g = i % ours.k() / ours.groupSize();
          double x =
              w.getFloat(n, i % ours.k())
                  / ours.scales().get(ValueLayout.JAVA_FLOAT, 4 * (g * ours.n() + n));
          assertThat(Math.abs(d)).isEqualTo(1);
          assertThat(Math.abs(x - Math.floor(x) - 0.5)).isLessThan(8.0 / 2048);
        }
      }
      assertThat(differ).isLessThan(ours.n() * ours.k() / 100);
    }
  }

  @Test
  void theErrorIsThatOfTheWeights() {
    try (var arena = Arena.ofConfined()) {
      float[] values = {0.7f, -0.32f, 0.1f, -0.7f, 0, 0, 0, 0};
      Tensor w = Tensor.ofFloats(arena, values, 2, 4);
      var q =
          Rtn.quantize(arena, engine.ops(), w, new ModuleScheme(4, 4, true, false), DataType.F16);
      Tensor back = Tensor.allocate(arena, DataType.F32, 2, 4);
      engine.ops().dequantize(back, q);
      double error = 0;
      double norm = 0;
      for (int i = 0; i < values.length; i++) {
        error += Math.pow(values[i] - back.toFloats()[i], 2);
        norm += Math.pow(values[i], 2);
      }
      assertThat(error).isPositive();
      assertThat(Rtn.relativeError(engine.ops(), w, q))
          .isCloseTo(Math.sqrt(error / norm), within(1e-12));
      Tensor zeros = Tensor.allocate(arena, DataType.F32, 2, 4);
      assertThat(
              Rtn.relativeError(
                  engine.ops(),
                  zeros,
                  Rtn.quantize(
                      arena,
                      engine.ops(),
                      zeros,
                      new ModuleScheme(4, 4, true, false),
                      DataType.F16)))
          .isZero();
    }
  }
}
