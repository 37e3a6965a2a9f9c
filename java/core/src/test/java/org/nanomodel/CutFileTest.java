package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.ForwardingWeights;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.WeightData;

/**
 * RELIABILITY S10: the weight file is cut short while a model is open or loaded. In a process of
 * its own, since reading what is gone raises SIGBUS.
 */
class CutFileTest {
  @TempDir Path temp;

  /** The process whose file is cut, after or before the weights were loaded. */
  public static final class Child {
    private Child() {}

    public static void main(String[] args) throws IOException {
      Path path = Path.of(args[1]);
      if (args[0].equals("during")) {
        cutDuring(path);
        return;
      }
      try (var model = AutoNanoModel.load(path)) {
        var options = GenerateOptions.builder().maxTokens(20).build();
        List<Integer> before = null;
        if (args[0].equals("after")) {
          before = model.generate(new int[] {3, 4, 5}, options).ids();
        }
        cut(path);
        var now = model.generate(new int[] {3, 4, 5}, options).ids();
        System.out.println(now.equals(before) ? "same answer" : "another answer");
      } catch (BadModelException e) {
        System.out.println("refused: " + e.getMessage());
      }
    }

    private static void cut(Path model) throws IOException {
      try (var file = new RandomAccessFile(model.resolve("model.safetensors").toFile(), "rw")) {
        file.setLength(100);
      }
    }

    /** Between the moment a weight is handed out and the moment a kernel reads it. */
    private static void cutDuring(Path path) {
      try (var engine = Engine.open();
          var directory = ModelDirectory.open(path, engine)) {
        CausalModel.load(engine, directory.config(), new Cutting(directory)).close();
        System.out.println("loaded");
      } catch (BadModelException e) {
        System.out.println("refused: " + e.getMessage());
      }
    }

    /** Cuts the file after it has handed out the first linear weight. */
    private record Cutting(ModelDirectory base) implements ForwardingWeights {
      @Override
      public WeightData linear(Arena arena, String module) {
        WeightData weight = base.linear(arena, module);
        try {
          cut(base.path());
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
        return weight;
      }
    }
  }

  @Test
  void aLoadedModelNeedsItsFileNoMore() throws Exception {
    assertThat(run("after")).isEqualTo("same answer");
  }

  @Test
  void aModelThatIsNotLoadedYetIsRefused() throws Exception {
    assertThat(run("before")).startsWith("refused: ").contains("model.safetensors", "100 bytes");
  }

  @Test
  void aFileThatIsCutWhileItIsReadIsRefused() throws Exception {
    assertThat(run("during")).startsWith("refused: ").contains("model.safetensors", "100 bytes");
  }

  private String run(String when) throws IOException, InterruptedException {
    Path model = new TinyModel(256, 512, 2, false).write(temp.resolve("model"));
    Path log = temp.resolve("child.log");
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Dnanomodel.library.path=" + System.getProperty("nanomodel.library.path", ""),
                "-cp",
                System.getProperty("java.class.path"),
                Child.class.getName(),
                when,
                model.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertThat(child.waitFor(60, TimeUnit.SECONDS)).isTrue();
    String said = Files.readString(log).strip();
    assertThat(child.exitValue()).as(said).isZero();
    return said;
  }
}
