package org.nanomodel.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.io.InputStream;
import java.net.URL;
import java.net.URLConnection;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.nanomodel.NanoModelException;

/**
 * Hugging Face's tokenizers library (Rust), as DJL's jar carries it.
 *
 * <p>Only the native methods of DJL are used, and the library is unpacked here: DJL's own loader
 * asks a cloud metadata address for telemetry on first use, probes for GPUs, would download another
 * build where it finds one, and logs. None of that may happen in a library that works offline.
 *
 * <p>The library file is kept in {@link #cacheDirectories the cache directory}, once a version.
 */
final class HuggingFaceLibrary {
  private static final String VERSION_RESOURCE = "native/lib/tokenizers.properties";

  private HuggingFaceLibrary() {}

  /** Loaded on first use, once a class loader; a failure is thrown anew by every later use. */
  static TokenizersLibrary get() {
    if (Holder.FAILURE != null) {
      throw new NanoModelException(Holder.FAILURE);
    }
    return TokenizersLibrary.LIB;
  }

  private static final class Holder {
    static final String FAILURE = load();
  }

  private static String load() {
    List<String> tried = new ArrayList<>();
    String platform = platform();
    String folder = "native/lib/" + platform + "/cpu/";
    List<String> files =
        platform.startsWith("win")
            ? List.of(
                "libwinpthread-1.dll", "libgcc_s_seh-1.dll", "libstdc++-6.dll", "tokenizers.dll")
            : List.of(System.mapLibraryName("tokenizers"));
    ClassLoader loader = TokenizersLibrary.class.getClassLoader();
    if (loader.getResource(folder + files.getLast()) == null) {
      return "The tokenizers library has no build for " + platform + " (looked for " + folder + ")";
    }
    for (Path cache : cacheDirectories()) {
      try {
        loadFrom(
            unpack(
                loader,
                folder,
                files,
                cache.resolve("tokenizers-" + version(loader) + "-" + platform)),
            files);
        return null;
      } catch (IOException | UnsatisfiedLinkError e) {
        tried.add(cache + ": " + e.getMessage());
      }
    }
    return "The tokenizers library could not be loaded. Tried: "
        + String.join("; ", tried)
        + ". Name a writable folder that allows execution with -Dnanomodel.cache.dir or"
        + " NANOMODEL_CACHE_DIR";
  }

  /**
   * Where unpacked libraries are kept, in the order in which they are tried: {@code
   * -Dnanomodel.cache.dir}, {@code NANOMODEL_CACHE_DIR}, {@code XDG_CACHE_HOME/nanomodel} or {@code
   * ~/.cache/nanomodel}; and, for machines where none can be written to, a folder in the temporary
   * directory.
   */
  private static List<Path> cacheDirectories() {
    String chosen = System.getProperty("nanomodel.cache.dir", System.getenv("NANOMODEL_CACHE_DIR"));
    if (chosen != null && !chosen.isBlank()) {
      return List.of(Path.of(chosen));
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path home =
        xdg == null || xdg.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(xdg);
    String user = System.getProperty("user.name").replaceAll("\\W", "_");
    return List.of(
        home.resolve("nanomodel"),
        Path.of(System.getProperty("java.io.tmpdir"), "nanomodel-" + user));
  }

  private static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    String system = os.startsWith("win") ? "win" : os.startsWith("mac") ? "osx" : "linux";
    return system + "-" + (arch.equals("amd64") ? "x86_64" : arch);
  }

  private static String version(ClassLoader loader) throws IOException {
    Properties properties = new Properties();
    try (InputStream in = loader.getResourceAsStream(VERSION_RESOURCE)) {
      if (in != null) {
        properties.load(in);
      }
    }
    return properties.getProperty("version", "unknown").replaceAll("[^\\w.-]", "_");
  }

  /** Written to a temporary name and moved, so that a second process never sees half a file. */
  private static Path unpack(ClassLoader loader, String folder, List<String> files, Path directory)
      throws IOException {
    Files.createDirectories(directory);
    for (String file : files) {
      URL url = loader.getResource(folder + file);
      URLConnection connection = url.openConnection();
      Path target = directory.resolve(file);
      if (Files.isRegularFile(target) && Files.size(target) == connection.getContentLengthLong()) {
        connection.getInputStream().close();
        continue;
      }
      Path part = Files.createTempFile(directory, file, ".tmp");
      try (InputStream in = connection.getInputStream()) {
        Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
        move(part, target);
      } finally {
        Files.deleteIfExists(part);
      }
    }
    return directory;
  }

  private static void move(Path from, Path to) throws IOException {
    try {
      Files.move(from, to, StandardCopyOption.ATOMIC_MOVE);
    } catch (AtomicMoveNotSupportedException e) {
      Files.move(from, to, StandardCopyOption.REPLACE_EXISTING);
    }
  }

  private static void loadFrom(Path directory, List<String> files) throws IOException {
    try {
      for (String file : files) {
        System.load(directory.resolve(file).toAbsolutePath().toString());
      }
    } catch (UnsatisfiedLinkError e) {
      if (!String.valueOf(e.getMessage()).contains("already loaded in another classloader")) {
        throw e;
      }
      // The JVM binds a path to one class loader: another one (a plugin, a hot reload) gets its own
      // copy.
      Path copy = Files.createTempDirectory("nanomodel-tokenizers");
      for (String file : files) {
        Path target = Files.copy(directory.resolve(file), copy.resolve(file));
        System.load(target.toString());
        target.toFile().deleteOnExit();
      }
      copy.toFile().deleteOnExit();
    }
  }
}
