package org.nanomodel.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import org.nanomodel.NativeException;

/**
 * Finds and opens libnanomodel, once a class loader: the file or folder of {@code
 * -Dnanomodel.library.path} (or {@code NANOMODEL_LIBRARY_PATH}) and nothing else if that is set;
 * otherwise the library in this jar, unpacked to a cache folder under the hash of its bytes. Opened
 * with {@link SymbolLookup#libraryLookup}, so that two class loaders may each have it. A library of
 * another ABI major is refused.
 */
public final class NativeLibrary {
  /** The major version of nanomodel.h that these classes were written against. */
  public static final int ABI_MAJOR = 1;

  /** Where to look first. */
  public static final String PATH_PROPERTY = "nanomodel.library.path";

  /** Where to unpack to. */
  public static final String CACHE_PROPERTY = "nanomodel.cache.dir";

  private NativeLibrary() {}

  private record Loaded(Path path, SymbolLookup lookup, int abiMajor, int abiMinor) {}

  /**
   * Loads on first use; a failure is kept and thrown again, so that each caller sees the reason.
   */
  private static final class Holder {
    static final Loaded LOADED;
    static final NativeException FAILURE;

    static {
      Loaded loaded = null;
      NativeException failure = null;
      try {
        loaded = load();
      } catch (NativeException e) {
        failure = e;
      }
      LOADED = loaded;
      FAILURE = failure;
    }
  }

  /**
   * The functions of the library; {@link NativeException} naming every path tried when there is
   * none.
   */
  public static SymbolLookup lookup() {
    return loaded().lookup();
  }

  /** The file that serves this process. */
  public static Path path() {
    return loaded().path();
  }

  /** "major.minor" of the library's ABI. */
  public static String abi() {
    return loaded().abiMajor() + "." + loaded().abiMinor();
  }

  private static Loaded loaded() {
    if (Holder.FAILURE != null) {
      throw new NativeException(Holder.FAILURE.getMessage(), Holder.FAILURE);
    }
    return Holder.LOADED;
  }

  private static Loaded load() {
    String asked = System.getProperty(PATH_PROPERTY);
    if (asked == null) {
      asked = System.getenv("NANOMODEL_LIBRARY_PATH");
    }
    var tried = new ArrayList<String>();
    if (asked != null && !asked.isBlank()) {
      Path given = Path.of(asked);
      Path file = Files.isDirectory(given) ? given.resolve(fileName()) : given;
      Loaded found = open(file, tried);
      if (found != null) {
        return found;
      }
      throw failure(
          tried, "-D" + PATH_PROPERTY + " names a folder or file of this machine's build");
    }
    Path unpacked = unpack(tried);
    if (unpacked != null) {
      Loaded found = open(unpacked, tried);
      if (found != null) {
        return found;
      }
    }
    throw failure(tried, "build it (cmake) and set -D" + PATH_PROPERTY + "=FOLDER");
  }

  private static NativeException failure(List<String> tried, String remedy) {
    return new NativeException(
        "cannot load " + fileName() + ": tried " + String.join("; ", tried) + ". To fix: " + remedy,
        null);
  }

  static Loaded open(Path file, List<String> tried) {
    if (!Files.isRegularFile(file)) {
      tried.add(file + " (no such file)");
      return null;
    }
    SymbolLookup lookup;
    try {
      lookup = SymbolLookup.libraryLookup(file.toAbsolutePath(), Arena.global());
    } catch (IllegalArgumentException e) {
      tried.add(file + " (" + loaderReason(file, e) + ")");
      return null;
    }
    int[] abi = abiOf(file, lookup);
    if (abi[0] != ABI_MAJOR) {
      throw new NativeException(
          file
              + " has ABI "
              + abi[0]
              + "."
              + abi[1]
              + ", these classes need major "
              + ABI_MAJOR
              + ": use the library that came with this jar, or rebuild it",
          null);
    }
    return new Loaded(file, lookup, abi[0], abi[1]);
  }

  /** {@code libraryLookup} hides why the loader refused a file; {@code System.load} tells. */
  @SuppressWarnings("restricted")
  private static String loaderReason(Path file, IllegalArgumentException hidden) {
    try {
      System.load(file.toAbsolutePath().toString());
      return hidden.getMessage();
    } catch (UnsatisfiedLinkError e) {
      return e.getMessage();
    }
  }

  @SuppressWarnings("restricted")
  private static int[] abiOf(Path file, SymbolLookup lookup) {
    MemorySegment symbol =
        lookup
            .find("nm_abi_version")
            .orElseThrow(() ->
                new NativeException(file + " is not libnanomodel: it has no nm_abi_version", null));
    var type =
        FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS);
    try (var arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(8, 8);
      int status =
          (int) Linker.nativeLinker().downcallHandle(symbol, type).invokeExact(out, out.asSlice(4));
      if (status != 0) {
        throw new NativeException(status, file + ": nm_abi_version failed with " + status);
      }
      return new int[] {out.get(ValueLayout.JAVA_INT, 0), out.get(ValueLayout.JAVA_INT, 4)};
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new NativeException(file + ": nm_abi_version: " + e, e);
    }
  }

  static String fileName() {
    return System.mapLibraryName("nanomodel");
  }

  /** {@code linux-x86_64}: the folder of a platform in the jar. */
  static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch");
    String osName = os.contains("win") ? "windows" : os.contains("mac") ? "macos" : "linux";
    return osName + "-" + (arch.equals("amd64") ? "x86_64" : arch);
  }

  private static Path unpack(List<String> tried) {
    String resource = "native/" + platform() + "/" + fileName();
    ClassLoader loader = NativeLibrary.class.getClassLoader();
    try (InputStream in = loader.getResourceAsStream(resource)) {
      if (in == null) {
        tried.add("resource " + resource + " (not in the jar)");
        return null;
      }
      return unpack(in, cacheDirectory());
    } catch (IOException e) {
      tried.add("resource " + resource + " (cannot unpack to " + cacheDirectory() + ": " + e + ")");
      return null;
    }
  }

  /**
   * Writes beside the final name and renames, so that processes that start together never see half
   * a file; the name is the hash of the bytes, so that versions do not meet.
   */
  static Path unpack(InputStream in, Path cache) throws IOException {
    Files.createDirectories(cache);
    Path temp = Files.createTempFile(cache, "unpack-", ".tmp");
    try {
      MessageDigest sha = MessageDigest.getInstance("SHA-256");
      try (var digest = new DigestInputStream(in, sha)) {
        Files.copy(digest, temp, StandardCopyOption.REPLACE_EXISTING);
      }
      Path folder = cache.resolve(HexFormat.of().formatHex(sha.digest(), 0, 8));
      Path target = folder.resolve(fileName());
      if (Files.isRegularFile(target) && Files.mismatch(temp, target) == -1) {
        return target;
      }
      Files.createDirectories(folder);
      try {
        return Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException e) {
        return Files.move(temp, target, StandardCopyOption.REPLACE_EXISTING);
      }
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    } finally {
      Files.deleteIfExists(temp);
    }
  }

  private static Path cacheDirectory() {
    String set = System.getProperty(CACHE_PROPERTY);
    if (set != null) {
      return Path.of(set);
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path base = xdg != null ? Path.of(xdg) : Path.of(System.getProperty("user.home"), ".cache");
    return base.resolve("nanomodel").resolve("native");
  }
}
