package org.nanomodel.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Properties;
import org.nanomodel.NanoModelException;
import org.nanomodel.ffi.LibraryCache;

/**
 * Hugging Face's tokenizers library (Rust), as DJL's jar carries it.
 *
 * <p>Only the native methods of DJL are used, and the library is unpacked here: DJL's own loader
 * asks a cloud metadata address for telemetry on first use, probes for GPUs, would download another
 * build where it finds one, and logs. None of that may happen in a library that works offline.
 *
 * <p>The library file is kept in a {@link LibraryCache} folder, once a version.
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
    for (Path cache : LibraryCache.folders()) {
      try {
        loadFrom(unpack(loader, folder, files, cache), files);
        return null;
      } catch (IOException | UnsatisfiedLinkError e) {
        tried.add(cache + ": " + e.getMessage());
      }
    }
    return "The tokenizers library could not be loaded. Tried: "
        + String.join("; ", tried)
        + ". To fix: "
        + LibraryCache.REMEDY;
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

  private static Path unpack(ClassLoader loader, String folder, List<String> files, Path cache)
      throws IOException {
    Path directory = LibraryCache.folder(cache, "tokenizers-" + version(loader) + "-" + platform());
    for (String file : files) {
      String resource = folder + file;
      LibraryCache.unpack(
          () -> loader.getResourceAsStream(resource),
          LibraryCache.hash(loader.getResourceAsStream(resource)),
          directory,
          file);
    }
    return directory;
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
      // copy, in the same place, since files may be run from there.
      Path copy = Files.createTempDirectory(directory, "copy");
      copy.toFile().deleteOnExit(); // the first to be registered is the last to go
      for (String file : files) {
        Path target = Files.copy(directory.resolve(file), copy.resolve(file));
        System.load(target.toAbsolutePath().toString());
        target.toFile().deleteOnExit();
      }
    }
  }
}
