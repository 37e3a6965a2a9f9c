package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.StringWriter;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.io.TempDir;

/** The examples of docs/api.md compile without a warning, run, and print something. */
class ApiExamplesTest {
  private static final Pattern EXAMPLE = Pattern.compile("```java\n(.*?)```", Pattern.DOTALL);
  private static final String SOURCE =
      """
      import java.util.*;
      import org.nanomodel.*;
      import org.nanomodel.data.*;
      import org.nanomodel.generate.*;
      import org.nanomodel.ops.*;

      public class Example%d {
        public static void main(String[] args) throws Exception {
      %s
        }
      }
      """;

  @TempDir static Path directory;

  @TestFactory
  Stream<DynamicTest> examples() throws IOException {
    Path root = SharedData.root();
    assumeThat(root.resolve("data/models/stories-qwen3")).matches(Files::exists);
    List<String> bodies =
        EXAMPLE
            .matcher(Files.readString(root.resolve("docs/api.md")))
            .results()
            .map(m -> m.group(1))
            .toList();
    assertThat(bodies).hasSizeGreaterThan(6);
    return Stream.iterate(0, i -> i + 1)
        .limit(bodies.size())
        .map(i ->
            DynamicTest.dynamicTest(
                bodies.get(i).lines().skip(1).findFirst().orElse("").strip(),
                () -> assertThat(run(i, bodies.get(i))).isNotBlank()));
  }

  private static URLClassLoader loader() throws IOException {
    return new URLClassLoader(
        new URL[] {directory.toUri().toURL()}, ApiExamplesTest.class.getClassLoader());
  }

  private static String run(int number, String body) throws Exception {
    Path file = directory.resolve("Example" + number + ".java");
    Files.writeString(file, SOURCE.formatted(number, body));
    var compiler = ToolProvider.getSystemJavaCompiler();
    var messages = new StringWriter();
    var files = compiler.getStandardFileManager(null, null, StandardCharsets.UTF_8);
    String path =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    var options =
        List.of(
            "-Xlint:all,-path",
            "-Werror",
            "-proc:none",
            "-d",
            directory.toString(),
            "-classpath",
            path);
    var task =
        compiler.getTask(messages, files, null, options, null, files.getJavaFileObjects(file));
    assertThat(task.call()).as(messages.toString()).isTrue();
    var out = new ByteArrayOutputStream();
    PrintStream before = System.out;
    try (var loader = loader()) {
      System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
      loader
          .loadClass("Example" + number)
          .getMethod("main", String[].class)
          .invoke(null, (Object) new String[0]);
    } finally {
      System.setOut(before);
    }
    return out.toString(StandardCharsets.UTF_8);
  }
}
