package org.nanomodel.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.NativeException;
import org.nanomodel.SharedData;
import org.nanomodel.tokenizer.Tokenizer;

class NativeLibraryTest {
  @Test
  void theLibraryOfThisBuildIsFoundAndFits() {
    assertThat(NativeLibrary.path()).isRegularFile();
    assertThat(NativeLibrary.abi()).startsWith(NativeLibrary.ABI_MAJOR + ".");
    assertThat(NativeLibrary.lookup().find("nm_linear")).isPresent();
  }

  @Test
  void theReasonOfTheLoaderIsKept(@TempDir Path dir) throws Exception {
    var tried = new ArrayList<String>();
    assertThat(NativeLibrary.open(dir.resolve("absent.so"), tried)).isNull();
    Path text = Files.writeString(dir.resolve("libtext.so"), "not a library ".repeat(100));
    assertThat(NativeLibrary.open(text, tried)).isNull();
    assertThat(tried.get(0)).isEqualTo(dir.resolve("absent.so") + " (no such file)");
    assertThat(tried.get(1)).startsWith(text.toString()).contains("invalid ELF header");
  }

  @Test
  void anotherLibraryIsRefused() {
    Path zip = Path.of(System.getProperty("java.home"), "lib", System.mapLibraryName("zip"));
    Assumptions.assumeTrue(Files.exists(zip), "skipped: no " + zip);
    assertThatThrownBy(() -> NativeLibrary.open(zip, new ArrayList<>()))
        .isInstanceOf(NativeException.class)
        .hasMessageContaining("is not libnanomodel");
  }

  @Test
  void anotherMajorVersionIsRefusedWithBothNumbersAndThePath(@TempDir Path dir) throws Exception {
    Path source =
        Files.writeString(
            dir.resolve("fake.c"),
            "int nm_abi_version(int *a, int *b) { *a = 7; *b = 3; return 0; }\n");
    Path library = dir.resolve("libfake.so");
    Process cc;
    try {
      cc =
          new ProcessBuilder("cc", "-shared", "-fPIC", "-o", library.toString(), source.toString())
              .inheritIO()
              .start();
    } catch (java.io.IOException e) {
      Assumptions.abort("skipped: no C compiler");
      return;
    }
    assertThat(cc.waitFor()).isZero();
    assertThatThrownBy(() -> NativeLibrary.open(library, new ArrayList<>()))
        .isInstanceOf(NativeException.class)
        .hasMessageContaining(library.toString())
        .hasMessageContaining("ABI 7.3")
        .hasMessageContaining("need major " + NativeLibrary.ABI_MAJOR);
  }

  @Test
  void twoClassLoadersMayBothHaveTheLibrary() throws Exception {
    var urls = new ArrayList<URL>();
    for (String entry : System.getProperty("java.class.path").split(java.io.File.pathSeparator)) {
      urls.add(Path.of(entry).toUri().toURL());
    }
    NativeLibrary.path();
    try (var other =
        new URLClassLoader(urls.toArray(URL[]::new), ClassLoader.getPlatformClassLoader())) {
      Class<?> copy = Class.forName(NativeLibrary.class.getName(), true, other);
      assertThat(copy).isNotSameAs(NativeLibrary.class);
      assertThat(copy.getMethod("abi").invoke(null)).isEqualTo(NativeLibrary.abi());
      Class<?> engine = Class.forName("org.nanomodel.ops.Engine", true, other);
      try (var opened = (AutoCloseable) engine.getMethod("open").invoke(null)) {
        assertThat(engine.getMethod("threads").invoke(opened)).isInstanceOf(Integer.class);
      }
      // The tokenizers library has Java's own native methods, which belong to one class loader.
      Path model = SharedData.root().resolve("data/models/stories-qwen3");
      Class<?> tokenizer = Class.forName("org.nanomodel.tokenizer.Tokenizer", true, other);
      try (var mine = Tokenizer.load(model);
          var theirs =
              (AutoCloseable) tokenizer.getMethod("load", Path.class).invoke(null, model)) {
        String text = "Once upon a time";
        assertThat(tokenizer.getMethod("encode", String.class).invoke(theirs, text))
            .isEqualTo(mine.encode(text));
      }
    }
  }

  @Test
  void aWrongPathIsNamedWithTheRemedyAndNothingElseIsTried(@TempDir Path dir) throws Exception {
    String launcher = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    Process p =
        new ProcessBuilder(
                launcher,
                "--enable-native-access=ALL-UNNAMED",
                "-D" + NativeLibrary.PATH_PROPERTY + "=" + dir,
                "-cp",
                System.getProperty("java.class.path"),
                Open.class.getName())
            .redirectErrorStream(true)
            .start();
    String out =
        new String(p.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
    assertThat(p.waitFor()).isZero();
    assertThat(out.lines())
        .hasSize(2)
        .allMatch(l ->
            l.startsWith("cannot load")
                && l.contains(dir + "/")
                && l.contains("no such file")
                && l.contains("To fix: "));
  }

  /** Tries twice, so that the second failure is seen to have the reason of the first. */
  static final class Open {
    public static void main(String[] args) {
      for (int i = 0; i < 2; i++) {
        try {
          org.nanomodel.ops.Engine.open();
        } catch (NativeException e) {
          System.out.println(e.getMessage());
        }
      }
    }
  }
}
