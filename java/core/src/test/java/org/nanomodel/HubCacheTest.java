package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.checkpoint.TinyModel;

/** Models by owner and name in a made-up Hugging Face cache. */
class HubCacheTest {
  @TempDir Path temp;
  private Path model;

  @BeforeEach
  void write() throws IOException {
    model = temp.resolve("hub/models--own.er--na-me");
    Files.createDirectories(model.resolve("refs"));
    Files.createDirectories(model.resolve("snapshots"));
    Files.writeString(model.resolve("refs/main"), "c0ffee\n");
    Files.writeString(model.resolve("refs/v2"), "beef");
    new TinyModel(32, 64, 1, true).write(model.resolve("snapshots/c0ffee"));
    Files.createDirectories(model.resolve("snapshots/beef"));
  }

  private Map<String, String> home() {
    return Map.of("HF_HOME", temp.toString());
  }

  @Test
  void aNameMeansTheSnapshotThatItsReferenceNames() {
    Path main = model.resolve("snapshots/c0ffee");
    assertThat(AutoNanoModel.resolve("own.er/na-me", home())).isEqualTo(main);
    assertThat(AutoNanoModel.resolve("own.er/na-me@v2", home()))
        .isEqualTo(model.resolve("snapshots/beef"));
    assertThat(AutoNanoModel.resolve("own.er/na-me@c0ffee", Map.of("HF_HUB_CACHE", temp + "/hub")))
        .as("a commit, and the other variable")
        .isEqualTo(main);
    try (var loaded = AutoNanoModel.load(main)) {
      assertThat(loaded.config().layers()).isEqualTo(1);
    }
  }

  @Test
  void whatIsNotThereIsRefusedWithThePlacesLookedAt() {
    assertThatThrownBy(() -> AutoNanoModel.resolve("own.er/na-me@v3", home()))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining(model.resolve("refs/v3").toString())
        .hasMessageContaining(model.resolve("snapshots/v3").toString());
    assertThatThrownBy(() -> AutoNanoModel.resolve("../na-me", home()))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("bundled: ");
  }

  @Test
  void aReferenceLeadsNowhereElse() throws IOException {
    Files.writeString(model.resolve("refs/main"), "../../../../etc");
    assertThatThrownBy(() -> AutoNanoModel.resolve("own.er/na-me", home()))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining(model.resolve("snapshots/main").toString());
  }
}
