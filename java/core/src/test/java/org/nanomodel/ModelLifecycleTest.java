package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.generate.GenerateOptions;

/** Models that come and go: unused, in use, a hundred times, and with the whole JVM. */
class ModelLifecycleTest {
  private static final int[] PROMPT = {3, 14, 15, 9, 26};
  private static final Path STATUS = Path.of("/proc/self/status");

  @TempDir Path temp;

  private Path tiny() throws IOException {
    return new TinyModel(64, 96, 2, false).write(temp.resolve("model"));
  }

  private static GenerateOptions tokens(int n) {
    return GenerateOptions.builder().maxTokens(n).ignoreEnd(true).build();
  }

  @Test
  void openedAndClosedWithoutAnyUse() throws IOException {
    Path model = tiny();
    for (int i = 0; i < 3; i++) {
      var unused = AutoNanoModel.load(model);
      unused.close();
      unused.close();
      var loaded = AutoNanoModel.load(model);
      loaded.graph();
      loaded.close();
      loaded.close();
    }
  }

  /** Each round ends whole or with an error that says why; never with a crash or a hang. */
  @Test
  void closedWhileAnotherThreadGenerates() throws Exception {
    Path path = tiny();
    for (int i = 0; i < 20; i++) {
      var model = AutoNanoModel.load(path);
      var started = new CountDownLatch(1);
      var generating =
          CompletableFuture.runAsync(() -> {
            while (true) {
              assertThat(model.generate(PROMPT, tokens(20)).ids()).hasSize(20);
              started.countDown();
            }
          });
      started.await();
      model.close();
      Throwable end = org.assertj.core.api.Assertions.catchThrowable(generating::get);
      assertThat(end).isInstanceOf(ExecutionException.class);
      assertThat(end.getCause())
          .isInstanceOf(IllegalStateException.class)
          .hasMessageEndingWith("is closed");
    }
  }

  @Test
  void aHundredTimesOpenAndClosedTheMemoryIsFlat() throws Exception {
    Assumptions.assumeTrue(Files.exists(STATUS), "skipped: no /proc here");
    Path model = new TinyModel(256, 704, 4, false).write(temp.resolve("large"));
    // A heap of fixed size, touched at once: what grows is native memory.
    var options = List.of("-Xms96m", "-Xmx96m", "-XX:+AlwaysPreTouch", "-XX:+UseSerialGC");
    var builder = ChildJvm.of(concat(options), OpenAndClose.class, model.toString());
    // One heap of malloc's: with several, how full each is depends on which thread frees.
    builder.environment().put("MALLOC_ARENA_MAX", "1");
    Process child = builder.start();
    String out = ChildJvm.output(child);
    assertThat(child.waitFor()).as(out).isZero();
    String[] numbers = out.strip().split(" ");
    long grown = Long.parseLong(numbers[0]);
    long bytes = Long.parseLong(numbers[1]);
    assertThat(bytes).as("bytes of one model").isGreaterThan(10L << 20);
    // If each round left a model behind, it would be a hundred times as much.
    assertThat(grown).as("bytes after 100 more rounds").isLessThan(bytes);
  }

  private static List<String> concat(List<String> options) {
    return java.util.stream.Stream.of(options, ChildJvm.sameLibrary())
        .flatMap(List::stream)
        .toList();
  }

  /** Prints by how many bytes the process grew, and the size of the model. */
  static final class OpenAndClose {
    public static void main(String[] args) throws Exception {
      long bytes = 0;
      // The allocator's own room grows at first.
      for (int i = 0; i < 60; i++) {
        bytes = once(Path.of(args[0]));
      }
      long before = resident();
      for (int i = 0; i < 100; i++) {
        once(Path.of(args[0]));
      }
      System.out.println(resident() - before + " " + bytes);
    }

    private static long once(Path path) {
      try (var model = AutoNanoModel.load(path)) {
        model.generate(PROMPT, tokens(2));
        return model.graph().bytes();
      } finally {
        System.gc(); // work memory is freed once it cannot be reached any more
      }
    }

    private static long resident() throws Exception {
      for (int i = 0; i < 2; i++) {
        System.gc();
        Thread.sleep(300); // memory goes back on the cleaner's thread
      }
      try (var lines = Files.lines(STATUS)) {
        return lines
            .filter(line -> line.startsWith("RssAnon:"))
            .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")) << 10)
            .findFirst()
            .orElseThrow();
      }
    }
  }

  @Test
  void theJvmMayExitWhileItGenerates() throws Exception {
    Path model = tiny();
    for (int i = 0; i < 3; i++) {
      assertThat(endOf(generating(model, "exit"))).isZero();
    }
  }

  @Test
  void theJvmMayBeInterruptedWhileItGenerates() throws Exception {
    Path model = tiny();
    Assumptions.assumeFalse(
        System.getProperty("os.name").startsWith("Windows"), "skipped: no signals");
    for (int i = 0; i < 3; i++) {
      Process child = generating(model, "wait");
      String pid = Long.toString(child.pid());
      assertThat(new ProcessBuilder("kill", "-INT", pid).start().waitFor()).isZero();
      assertThat(endOf(child)).isEqualTo(130);
    }
  }

  /** A child that generates by now. */
  private Process generating(Path model, String then) throws IOException {
    Process child =
        ChildJvm.of(ChildJvm.sameLibrary(), GenerateForever.class, model.toString(), then)
            .directory(temp.toFile())
            .start();
    var out =
        new BufferedReader(new InputStreamReader(child.getInputStream(), StandardCharsets.UTF_8));
    assertThat(out.readLine()).isEqualTo("generating");
    return child;
  }

  private int endOf(Process child) throws Exception {
    int code = child.waitFor();
    try (var files = Files.list(temp)) {
      assertThat(files.filter(f -> f.getFileName().toString().startsWith("hs_err"))).isEmpty();
    }
    return code;
  }

  static final class GenerateForever {
    public static void main(String[] args) throws Exception {
      var model = AutoNanoModel.load(Path.of(args[0]));
      var started = new CountDownLatch(1);
      for (int i = 0; i < 2; i++) {
        new Thread(
                () -> {
                  while (true) {
                    model.generate(PROMPT, tokens(20));
                    started.countDown();
                  }
                })
            .start();
      }
      started.await();
      System.out.println("generating");
      if (args[1].equals("exit")) {
        System.exit(0);
      }
    }
  }
}
