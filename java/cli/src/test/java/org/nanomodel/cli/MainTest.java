package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

class MainTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private final CommandLine command =
      new CommandLine(new Main()).setOut(new PrintWriter(out)).setErr(new PrintWriter(err));

  @Test
  void versionGoesToStandardOutput() {
    assertThat(command.execute("--version")).isZero();
    assertThat(out.toString()).startsWith("nanomodel ");
    assertThat(err.toString()).isEmpty();
  }

  @Test
  void noVerbIsAUsageError() {
    assertThat(command.execute()).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString()).contains("Missing verb");
  }
}
