package org.nanomodel;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Models that Hugging Face's tools have downloaded: {@code models--owner--name/snapshots/COMMIT},
 * where {@code refs/REVISION} names the commit. The folder is {@code HF_HUB_CACHE}, {@code
 * HF_HOME/hub} or {@code ~/.cache/huggingface/hub}.
 */
record HubCache(Path folder) {
  private static final String PART = "(\\w[\\w.-]*)";
  private static final Pattern NAME = Pattern.compile(PART + "/" + PART + "(?:@" + PART + ")?");
  private static final Pattern COMMIT = Pattern.compile(PART);
  private static final int MAX_REF_BYTES = 256;

  static HubCache of(Map<String, String> environment) {
    String hub = environment.getOrDefault("HF_HUB_CACHE", "");
    String home = environment.getOrDefault("HF_HOME", "");
    if (!hub.isBlank()) {
      return new HubCache(Path.of(hub));
    }
    Path base =
        home.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache", "huggingface")
            : Path.of(home);
    return new HubCache(base.resolve("hub"));
  }

  /** Whether it is written as {@code owner/name[@revision]}. */
  static boolean isName(String model) {
    return NAME.matcher(model).matches();
  }

  Optional<Path> find(String model) {
    Matcher m = NAME.matcher(model);
    return m.matches() ? Optional.of(snapshot(m)).filter(Files::isDirectory) : Optional.empty();
  }

  /** Where a name of this form would be. */
  String lookedAt(String model) {
    Matcher m = NAME.matcher(model);
    if (!m.matches()) {
      throw new IllegalArgumentException(model);
    }
    return ref(m) + " and " + snapshot(m);
  }

  private Path model(Matcher m) {
    return folder.resolve("models--" + m.group(1) + "--" + m.group(2));
  }

  private static String revision(Matcher m) {
    return m.group(3) == null ? "main" : m.group(3);
  }

  private Path ref(Matcher m) {
    return model(m).resolve("refs").resolve(revision(m));
  }

  private Path snapshot(Matcher m) {
    return model(m).resolve("snapshots").resolve(commit(m));
  }

  /** What the reference says, or the revision itself, which may be a commit. */
  private String commit(Matcher m) {
    Path ref = ref(m);
    try {
      if (Files.isRegularFile(ref) && Files.size(ref) <= MAX_REF_BYTES) {
        String commit = Files.readString(ref).strip();
        return COMMIT.matcher(commit).matches() ? commit : revision(m);
      }
    } catch (IOException e) {
      // an unreadable reference is none
    }
    return revision(m);
  }
}
