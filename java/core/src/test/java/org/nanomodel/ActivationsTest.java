package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.LinkedHashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.model.Scorer;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.Linear;

/** What decides how inputs meet integer weights: the checkpoint, unless an option does. */
class ActivationsTest {
  /**
   * Linears of the two layers of the models here, and the relative error that one adds by itself.
   */
  private static final int LINEARS = 14;

  private static final double NEAR_EXACT_ERROR = 3e-5;
  private static final double INT8_ERROR = 7e-3;
  private static final int[] IDS = {1, 17, 40, 5, 99, 200, 3, 77, 8, 120, 31, 64};

  /** Kernels of the linears but the head, without their tier, and logits of all tokens. */
  private record Run(Set<String> kernels, float[] logits) {}

  private static Run run(String checkpoint, Activations activations) {
    var options = EngineOptions.defaults().withActivations(activations);
    try (NanoModel model = AutoNanoModel.load(SharedData.require("golden/" + checkpoint), options);
        var scorer = new Scorer(model.graph(), model.engine().ops(), IDS.length)) {
      var kernels = new LinkedHashSet<String>();
      for (Linear linear : model.graph().linears()) {
        if (linear.bits() != 0) {
          kernels.add(linear.kernel().replaceFirst("_[a-z]+[0-9]*(_vnni)?$", ""));
        }
      }
      var logits = new float[IDS.length * model.config().vocabSize()];
      scorer.run(
          IDS,
          (first, rows) -> {
            float[] some = rows.toFloats();
            System.arraycopy(some, 0, logits, first * model.config().vocabSize(), some.length);
          });
      return new Run(kernels, logits);
    }
  }

  /** Root mean square of the difference, as a share of that of the logits. */
  private static double distance(float[] a, float[] b) {
    double off = 0;
    double size = 0;
    for (int i = 0; i < a.length; i++) {
      off += (double) (a[i] - b[i]) * (a[i] - b[i]);
      size += (double) b[i] * b[i];
    }
    return Math.sqrt(off / size);
  }

  @ParameterizedTest
  @CsvSource({
    "formats/ct_w8a8, linear_i8_i8",
    "gptqmodel/qqq_channel, linear_i4_i8",
    "gptqmodel/qqq_g128, linear_i8_i8",
    "formats/ct_int8_sym_channel, linear_i8_i16",
    "gptqmodel/b4_sym, linear_i4_i16",
  })
  void theCheckpointSaysHowInputsAreRounded(String checkpoint, String kernel) {
    assumeTrue(Engine.cpu().bestTier().startsWith("avx"), "near-exact kernels are for x86-64");
    Run exact = run(checkpoint, Activations.EXACT);
    Run near = run(checkpoint, Activations.NEAR_EXACT);
    Run auto = run(checkpoint, Activations.AUTO);
    assertThat(auto.kernels()).containsExactly(kernel);
    assertThat(near.kernels()).containsExactly(kernel.replaceFirst("_i8$", "_i16"));
    assertThat(exact.kernels()).containsExactly(kernel.replaceFirst("_i[0-9]+$", ""));
    assertThat(distance(near.logits(), exact.logits())).isBetween(1e-9, LINEARS * NEAR_EXACT_ERROR);
    if (kernel.endsWith("_i8")) {
      assertThat(distance(auto.logits(), exact.logits())).isBetween(1e-3, LINEARS * INT8_ERROR);
    } else {
      assertThat(auto.logits()).containsExactly(near.logits());
    }
  }

  @Test
  void anOptionRoundsInputsOfEveryIntegerWeight() {
    Run exact = run("gptqmodel/b4_sym", Activations.EXACT);
    Run int8 = run("gptqmodel/b4_sym", Activations.INT8);
    Run int4 = run("gptqmodel/b4_sym", Activations.INT4);
    assertThat(int8.kernels()).containsExactly("linear_i4_i8");
    double eight = distance(int8.logits(), exact.logits());
    assertThat(eight).isBetween(1e-3, LINEARS * INT8_ERROR);
    assertThat(distance(int4.logits(), exact.logits())).isGreaterThan(4 * eight);
  }

  @Test
  void namesAreThoseOfTheCommandLine() {
    for (Activations one : Activations.values()) {
      assertThat(Activations.parse(one.toString())).isEqualTo(one);
    }
    assertThat(Activations.NEAR_EXACT).hasToString("near-exact");
    assertThatThrownBy(() -> Activations.parse("int3"))
        .hasMessageContaining("expected auto, exact, near-exact, int8 or int4");
    System.setProperty("nanomodel.activations", "Int8");
    try {
      assertThat(EngineOptions.defaults().activations()).isEqualTo(Activations.INT8);
    } finally {
      System.clearProperty("nanomodel.activations");
    }
  }
}
