package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Files that Python wrote, from a folder {@code shared} beside the repository if it is there. */
class GoldenFilesTest {

  private static List<Path> found(String suffix) throws IOException {
    Path shared = shared();
    assumeTrue(shared != null, "skipped: no folder 'shared' beside the repository");
    try (var files = Files.walk(shared.toRealPath())) {
      return files.filter(f -> f.toString().endsWith(suffix) && Files.isRegularFile(f)).toList();
    }
  }

  /** Beside nanomodel.home, the root of the build, or beside a folder above this one. */
  private static Path shared() {
    String home = System.getProperty("nanomodel.home", System.getProperty("user.dir"));
    for (Path at = Path.of(home).toAbsolutePath(); at != null; at = at.getParent()) {
      Path shared = at.resolveSibling("shared");
      if (Files.isDirectory(shared.resolve("golden"))) {
        return shared;
      }
    }
    return null;
  }

  @Test
  void everyFileOpensAndItsTensorsFillIt() throws IOException {
    List<Path> files = found(".safetensors");
    assertThat(files).isNotEmpty();
    for (Path path : files) {
      try (var file = SafetensorsFile.open(path)) {
        long bytes = 0;
        for (TensorInfo info : file.tensors()) {
          assertThat(file.segment(info.name()).byteSize())
              .as("%s %s", path, info)
              .isEqualTo(info.dtype().byteSize(info.elements()));
          bytes += info.byteSize();
        }
        long headerBytes = Files.size(path) - bytes - 8;
        assertThat(headerBytes).as("%s", path).isBetween(2L, 100_000_000L);
      }
    }
  }

  @Test
  void everyShardedModelOpens() throws IOException {
    List<Path> indexes = found("model.safetensors.index.json");
    assertThat(indexes).isNotEmpty();
    for (Path index : indexes) {
      try (var model = SafetensorsModel.open(index.getParent())) {
        assertThat(model.unlisted()).isEmpty();
        long bytes = model.tensors().stream().mapToLong(TensorInfo::byteSize).sum();
        assertThat(Files.readString(index)).contains("\"total_size\": " + bytes);
      }
    }
  }
}
