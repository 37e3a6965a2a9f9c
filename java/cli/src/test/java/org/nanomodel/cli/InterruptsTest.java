package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** Ctrl-C, in a process of its own. */
@DisabledOnOs(OS.WINDOWS)
class InterruptsTest {
  @Test
  void interruptedTextIsFlushedAndTheCodeIs5() throws Exception {
    Process process =
        Child.start(
            "generate",
            "-m",
            Nanomodel.model(),
            "-p",
            "Once upon a time",
            "-n",
            "500",
            "--tier",
            "reference",
            "-t",
            "1",
            "--temp",
            "1",
            "--seed",
            "1");
    try (BufferedReader out =
        new BufferedReader(
            new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8))) {
      char[] first = new char[8];
      assertThat(out.read(first)).isPositive();
      Child.interrupt(process);
      assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(5);
      assertThat(new String(first)).startsWith(",");
    }
  }

  @Test
  void interruptedEvaluationSaysSoAndTheCodeIs5() throws Exception {
    Process process =
        Child.start(
            "eval",
            "-m",
            Nanomodel.model(),
            "--data",
            "stories-calib",
            "--protocol",
            "rows",
            "--tier",
            "reference",
            "-t",
            "1");
    try (BufferedReader err =
        new BufferedReader(
            new InputStreamReader(process.getErrorStream(), StandardCharsets.UTF_8))) {
      assertThat(err.readLine()).contains("% of"); // under way
      Child.interrupt(process);
      assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(5);
      assertThat(err.lines().toList()).contains("nanomodel: Interrupted");
    }
  }
}
