package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.nanomodel.Method;
import org.nanomodel.checkpoint.TinyModel;

/**
 * A process that quantizes is killed, as by kill -9, again and again; what comes out at the end is
 * byte-equal.
 */
class KilledJobTest {
  /** {@code -Dnanomodel.kills=20} for the long form. */
  private static final int KILLS = Integer.getInteger("nanomodel.kills", 2);

  @TempDir Path temp;

  @ParameterizedTest
  @EnumSource(Method.class)
  void aKilledJobEndsByteEqualAndNeverShowsHalfACheckpoint(Method method) throws Exception {
    boolean tiles = method == Method.QQQ; // which the smaller shapes do not fill
    var tiny = tiles ? new TinyModel(128, 256, 12, false) : new TinyModel(64, 96, 12, false);
    Path model = tiny.write(temp.resolve("model"));
    long whole = run(model, method, "whole", Long.MAX_VALUE);
    var random = new Random(3);
    int killed = 0;
    for (int i = 0; i < KILLS; i++) {
      // JVM start and work take about equal parts; most kills come after the start. The first comes
      // before any machine is through with it.
      long limit = i == 0 ? 150 : whole / 3 + random.nextLong(1 + whole * 2 / 3);
      if (run(model, method, "out", limit) < 0) {
        killed++;
        assertThat(temp.resolve("out").resolve("config.json"))
            .satisfiesAnyOf(
                config -> assertThat(config).doesNotExist(),
                config -> assertThat(contents("out")).isEqualTo(contents("whole")));
      }
    }
    assertThat(killed).isPositive();
    run(model, method, "out", Long.MAX_VALUE);
    assertThat(contents("out")).isEqualTo(contents("whole"));
    assertThat(temp.resolve("out.job")).doesNotExist();
    try (var left = Files.list(temp)) {
      assertThat(left.map(file -> file.getFileName().toString()))
          .containsExactlyInAnyOrder("model", "out", "whole", "child.log");
    }
  }

  private Path log() {
    return temp.resolve("child.log");
  }

  private Map<String, String> contents(String name) throws IOException {
    return QuantizeJobTest.contents(temp.resolve(name));
  }

  /** Milliseconds it took, or -1 when it was killed after {@code limit} of them. */
  private long run(Path model, Method method, String output, long limit)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    Process child = ChildJob.start(List.of(), log(), model, temp.resolve(output), method);
    if (!child.waitFor(limit, TimeUnit.MILLISECONDS)) {
      child.destroyForcibly().waitFor();
      return -1;
    }
    assertThat(child.exitValue()).as(Files.readString(log())).isZero();
    return (System.nanoTime() - start) / 1_000_000;
  }
}
