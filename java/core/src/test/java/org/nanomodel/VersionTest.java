package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import org.junit.jupiter.api.Test;

class VersionTest {
  @Test
  void isThatOfTheBuild() throws IOException {
    String pom = Files.readString(SharedData.root().resolve("pom.xml"));
    assertThat(pom)
        .contains(
            "<artifactId>nanomodel</artifactId>\n  <version>" + Version.NUMBER + "</version>");
  }
}
