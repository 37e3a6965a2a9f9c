package org.nanomodel.tests;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.module.ModuleFinder;
import java.lang.module.ModuleReference;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The jars as a user has them: without the launcher, the build folder or any option. */
class JarTest {
  private static final String VERSION = "0.1.0";

  private static Path target(String module) {
    Path root = Path.of("").toAbsolutePath();
    while (!Files.isDirectory(root.resolve("csrc"))) {
      root = root.getParent();
    }
    return root.resolve("java").resolve(module).resolve("target");
  }

  private static Path jar(String module, String name) {
    Path jar = target(module).resolve(name + "-" + VERSION + ".jar");
    Assumptions.assumeTrue(
        Files.exists(jar), () -> "skipped: " + jar + " is made in the phase package");
    return jar;
  }

  @Test
  void theJarRunsAloneAndWithoutWarnings(@TempDir Path directory) throws Exception {
    Path cli = jar("cli", "nanomodel-cli");
    String model =
        target("cli").resolve("../../../data/models/stories-qwen3").normalize().toString();
    for (List<String> verb :
        List.of(
            List.of("doctor"),
            List.of("generate", "--model", model, "--prompt", "Once", "--max-tokens", "4"))) {
      var builder =
          new ProcessBuilder(
                  Stream.concat(
                          Stream.of(
                              Path.of(System.getProperty("java.home"), "bin/java").toString(),
                              "-jar",
                              cli.toString()),
                          verb.stream())
                      .toList())
              .directory(directory.toFile())
              .redirectErrorStream(true);
      builder.environment().put("NANOMODEL_CACHE_DIR", directory.resolve("cache").toString());
      builder.environment().remove("NANOMODEL_LIBRARY_PATH");
      Process process = builder.start();
      String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      assertThat(process.waitFor()).as(out).isZero();
      assertThat(out).doesNotContainIgnoringCase("warning");
    }
    try (var unpacked = Files.list(directory.resolve("cache"))) {
      assertThat(unpacked.map(p -> p.getFileName().toString()))
          .anyMatch(name -> name.startsWith("native-" + VERSION))
          .anyMatch(name -> name.startsWith("tokenizers-"));
    }
  }

  @Test
  void theModulesHaveNames() {
    var finder =
        ModuleFinder.of(
            jar("safetensors", "safetensors-java"),
            jar("core", "nanomodel-core"),
            jar("cli", "nanomodel-cli"));
    assertThat(finder.findAll())
        .extracting(ModuleReference::descriptor)
        .extracting(java.lang.module.ModuleDescriptor::name)
        .containsExactlyInAnyOrder(
            "org.nanomodel.safetensors", "org.nanomodel", "org.nanomodel.cli");
  }
}
