package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Ctrl-C, in a process of its own. */
@DisabledOnOs(OS.WINDOWS)
class InterruptsTest {
  @TempDir Path temp;

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

  @Test
  void interruptedQuantizingKeepsItsLayersAndEndsByteEqual() throws Exception {
    Process process = Child.start(quantize("out"));
    Path job = temp.resolve("out.job");
    while (!Files.exists(job.resolve("layer-00000.json"))) {
      assertThat(process.waitFor(10, TimeUnit.MILLISECONDS)).as("over before it began").isFalse();
    }
    Child.interrupt(process);
    String said = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
    assertThat(process.exitValue()).as(said).isEqualTo(5);
    assertThat(said).contains("nanomodel: Interrupted");
    assertThat(temp.resolve("out")).doesNotExist();
    String again = Nanomodel.run(quantize("out")).succeeded().err();
    assertThat(again).contains("layer 0 was done before").doesNotContain("layer 5 was");
    Nanomodel.run(quantize("whole")).succeeded();
    for (String file : List.of("model.safetensors", "config.json", "quantize_config.json")) {
      assertThat(
              Files.mismatch(
                  temp.resolve("out").resolve(file), temp.resolve("whole").resolve(file)))
          .as(file)
          .isEqualTo(-1);
    }
    assertThat(job).doesNotExist();
  }

  private String[] quantize(String output) {
    return new String[] {
      "quantize",
      "-m",
      Nanomodel.model(),
      "--method",
      "gptq",
      "-g",
      "64",
      "--calibration",
      "stories-calib",
      "--samples",
      "8",
      "-t",
      "1",
      "-o",
      temp.resolve(output).toString()
    };
  }
}
