package org.nanomodel.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModel;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.ops.Cancel;

class ThroughputTest {
  private static NanoModel model;

  @BeforeAll
  static void load() {
    model = AutoNanoModel.load(SharedData.root().resolve("data/models/stories-qwen3"));
  }

  @AfterAll
  static void close() {
    model.close();
  }

  @Test
  void testsHaveTheNamesOfLlamaBench() {
    assertThat(new Throughput.Test(512, 0, 0).name()).isEqualTo("pp512");
    assertThat(new Throughput.Test(0, 128, 1024).name()).isEqualTo("tg128 @ d1024");
    assertThat(new Throughput.Test(64, 16, 0).name()).isEqualTo("pp64+tg16");
    assertThatThrownBy(() -> new Throughput.Test(0, 0, 7)).hasMessageContaining("at least one");
  }

  /** Each run starts at the same depth, so the context is never exceeded however many there are. */
  @Test
  void runsCanFillTheWholeContextAgainAndAgain() {
    var test = new Throughput.Test(300, 12, 200);
    try (var bench = new Throughput(model.graph(), test, 1, null)) {
      int[] seen = new int[1];
      double[] rates = bench.run(3, done -> seen[0] += 1 + done);
      assertThat(rates).hasSize(3);
      assertThat(Arrays.stream(rates).allMatch(r -> r > 0 && Double.isFinite(r))).isTrue();
      assertThat(seen[0]).isEqualTo(6);
    }
  }

  @Test
  void moreThanTheContextIsRefused() {
    var test = new Throughput.Test(512, 1, 0);
    assertThatThrownBy(() -> new Throughput(model.graph(), test, 1, null))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("needs 513 tokens")
        .hasMessageContaining("context is 512");
  }

  @Test
  void aRunCanBeCancelled() {
    Cancel cancel = new Cancel();
    try (var bench = new Throughput(model.graph(), new Throughput.Test(0, 400, 0), 1, cancel)) {
      assertThatThrownBy(() -> bench.run(5, done -> cancel.raise()))
          .isInstanceOf(CancelledException.class);
    }
  }

  @Test
  void medianOfAnEvenNumberIsBetween() {
    assertThat(Throughput.median(new double[] {9, 1, 5})).isEqualTo(5);
    assertThat(Throughput.median(new double[] {4, 1, 2, 9})).isEqualTo(3);
  }
}
