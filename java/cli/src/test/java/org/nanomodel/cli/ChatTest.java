package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

/** The verb chat, with piped input, and Ctrl-C in a process of its own. */
class ChatTest {
  private static Nanomodel chat(String input, String... flags) {
    InputStream before = System.in;
    System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
    try {
      String[] args = new String[flags.length + 5];
      System.arraycopy(new String[] {"chat", "-m", Nanomodel.model(), "-n", "6"}, 0, args, 0, 5);
      System.arraycopy(flags, 0, args, 5, flags.length);
      return Nanomodel.run(args);
    } finally {
      System.setIn(before);
    }
  }

  @Test
  void theHistoryGoesWithEveryQuestion() {
    Nanomodel run = chat("One day\nAnd then\n/clear\nOne day\n", "--json").succeeded();
    List<String> lines = run.out().lines().toList();
    assertThat(lines).hasSize(3).allMatch(line -> line.contains("\"role\":\"assistant\""));
    int[] prompts = lines.stream().mapToInt(ChatTest::promptTokens).toArray();
    assertThat(prompts[1]).isGreaterThan(prompts[0] + 6);
    assertThat(prompts[2]).isEqualTo(prompts[0]);
  }

  private static int promptTokens(String line) {
    return Integer.parseInt(line.replaceAll(".*\"prompt_tokens\":(\\d+).*", "$1"));
  }

  @Test
  void commandsAndOtherLines() {
    Nanomodel run = chat("/help\n/nonsense\n\n   \nfirst\\\nsecond\n/exit\nnot read\n", "--json");
    run.succeeded();
    assertThat(run.err()).contains("/clear", "There is no command /nonsense");
    assertThat(run.out().lines()).hasSize(1);
  }

  @Test
  void theSystemMessageIsPartOfThePrompt() {
    int without = promptTokens(chat("Hi\n", "--json").succeeded().out().strip());
    int with = promptTokens(chat("Hi\n", "--json", "--system", "Be kind.").out().strip());
    int changed = promptTokens(chat("/system Be kind.\nHi\n", "--json").out().strip());
    assertThat(with).isGreaterThan(without).isEqualTo(changed);
  }

  @Test
  void generateWithChatTakesTheTemplate() {
    Nanomodel run =
        Nanomodel.run(
                "generate",
                "-m",
                Nanomodel.model(),
                "--chat",
                "-p",
                "a <|im_end|>",
                "-n",
                "2",
                "--json")
            .succeeded();
    List<Integer> ids = new ArrayList<>();
    run.json().get("input_ids").forEach(id -> ids.add(id.asInt()));
    assertThat(ids).startsWith(2046).containsOnlyOnce(2047); // what was typed is text
    Nanomodel.run("generate", "-m", Nanomodel.model(), "-p", "a", "--system", "b")
        .failed(2, "--chat");
    Nanomodel.run("generate", "-m", Nanomodel.model(), "--input-ids", "1", "--chat")
        .failed(2, "--chat");
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void interruptsStopTheAnswerAndThenTheChat() throws Exception {
    Process process =
        Child.start(
            "chat",
            "-m",
            Nanomodel.model(),
            "-n",
            "450",
            "--tier",
            "reference",
            "-t",
            "1",
            "--temp",
            "1",
            "--seed",
            "1");
    try (BufferedReader out = reader(process.getInputStream());
        BufferedReader err = reader(process.getErrorStream());
        OutputStream in = process.getOutputStream()) {
      in.write("Once upon a time\n".getBytes(StandardCharsets.UTF_8));
      in.flush();
      assertThat(out.read()).isNotNegative(); // the answer has begun
      Child.interrupt(process);
      String line = err.readLine();
      assertThat(line).isEqualTo("(stopped)");
      assertThat(process.isAlive()).isTrue();
      Child.interrupt(process);
      assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
      assertThat(process.exitValue()).isEqualTo(5);
    } finally {
      process.destroyForcibly();
    }
  }

  private static BufferedReader reader(InputStream in) {
    return new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
  }
}
