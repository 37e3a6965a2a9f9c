import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/** A running driver, which Driver.java describes, as the one that asks sees it. */
final class PeerProcess implements AutoCloseable {
  private static final long PAUSE_MILLIS =
      30; // the threads of the one before may spin on for a while

  private final String name;
  private final Process process;
  private final BufferedReader answers;
  private final BufferedWriter questions;

  PeerProcess(String name, List<String> command, Path log) throws IOException {
    this.name = name;
    process = new ProcessBuilder(command).redirectError(log.toFile()).start();
    answers = process.inputReader(StandardCharsets.UTF_8);
    questions = process.outputWriter(StandardCharsets.UTF_8);
  }

  /** The number of the answer; -1, once said why, where there is none. */
  double ask(String format, Object... values) {
    String question = String.format(Locale.ROOT, format, values);
    try {
      Thread.sleep(PAUSE_MILLIS);
      questions.write(question + "\n");
      questions.flush();
      for (String line = answers.readLine(); line != null; line = answers.readLine()) {
        if (line.startsWith("> ok ")) {
          return Double.parseDouble(line.substring(5));
        }
        if (line.startsWith("> no ")) {
          System.err.println("peers: " + name + " cannot " + question + ": " + line.substring(5));
          return -1;
        }
      }
    } catch (IOException e) {
      // ended, as below
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    System.err.println("peers: " + name + " ended at " + question);
    return -1;
  }

  /** Memory that it holds now, mapped files included; 0 where the system does not say. */
  long residentBytes() {
    try (var lines = Files.lines(Path.of("/proc/" + process.pid() + "/status"))) {
      return lines
          .filter(line -> line.startsWith("VmRSS:"))
          .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("\\D", "")))
          .findFirst()
          .orElse(0);
    } catch (IOException e) {
      return 0;
    }
  }

  @Override
  public void close() {
    try {
      questions.close(); // the end of its input ends it
      if (!process.waitFor(10, TimeUnit.SECONDS)) {
        process.destroyForcibly();
      }
    } catch (IOException e) {
      process.destroyForcibly();
    } catch (InterruptedException e) {
      process.destroyForcibly();
      Thread.currentThread().interrupt();
    }
  }
}
