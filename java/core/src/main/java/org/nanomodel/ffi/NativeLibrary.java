package org.nanomodel.ffi;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.nanomodel.NativeException;
import org.nanomodel.Version;

/**
 * Finds and opens libnanomodel, once a class loader: the file or folder of {@code
 * -Dnanomodel.library.path} (or {@code NANOMODEL_LIBRARY_PATH}) and nothing else if that is set;
 * otherwise the library in this jar, unpacked to a {@link LibraryCache} folder. Opened with {@link
 * SymbolLookup#libraryLookup}, so that two class loaders may each have it. A library of another ABI
 * major is refused.
 */
public final class NativeLibrary {
  /** The major version of nanomodel.h that these classes were written against. */
  public static final int ABI_MAJOR = 1;

  /** Where to look first. */
  public static final String PATH_PROPERTY = "nanomodel.library.path";

  static final FunctionDescriptor DLOPEN =
      FunctionDescriptor.of(ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_INT);
  static final FunctionDescriptor DLERROR = FunctionDescriptor.of(ValueLayout.ADDRESS);
  static final FunctionDescriptor ABI_VERSION =
      FunctionDescriptor.of(ValueLayout.JAVA_INT, ValueLayout.ADDRESS, ValueLayout.ADDRESS);
  private static final int RTLD_LAZY = 1;
  private static final int MAX_REASON = 4096;

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
    Loaded found = openUnpacked(tried);
    if (found != null) {
      return found;
    }
    throw failure(
        tried,
        "build it (cmake) and set -D" + PATH_PROPERTY + "=FOLDER, or " + LibraryCache.REMEDY);
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
    Optional<String> refusal = refusal(file);
    if (refusal.isPresent()) {
      tried.add(file + " (" + refusal.get() + ")");
      return null;
    }
    SymbolLookup lookup;
    try {
      lookup = SymbolLookup.libraryLookup(file.toAbsolutePath(), Arena.global());
    } catch (IllegalArgumentException e) {
      tried.add(file + " (" + e.getMessage() + ")");
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

  /**
   * Why the loader will not have a file, in its own words, which {@code libraryLookup} hides; empty
   * where it will, and where there is no dlopen to ask.
   */
  @SuppressWarnings("restricted")
  private static Optional<String> refusal(Path file) {
    Linker linker = Linker.nativeLinker();
    var open = linker.defaultLookup().find("dlopen");
    var error = linker.defaultLookup().find("dlerror");
    if (open.isEmpty() || error.isEmpty()) {
      return Optional.empty();
    }
    try (var arena = Arena.ofConfined()) {
      MemorySegment name = arena.allocateFrom(file.toAbsolutePath().toString());
      var handle =
          (MemorySegment) linker.downcallHandle(open.get(), DLOPEN).invokeExact(name, RTLD_LAZY);
      if (handle.address() != 0) {
        return Optional.empty(); // it stays open, as it will be used
      }
      var text = (MemorySegment) linker.downcallHandle(error.get(), DLERROR).invokeExact();
      return Optional.of(
          text.address() == 0 ? "refused" : text.reinterpret(MAX_REASON).getString(0));
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new NativeException("dlopen: " + e, e);
    }
  }

  @SuppressWarnings("restricted")
  private static int[] abiOf(Path file, SymbolLookup lookup) {
    MemorySegment symbol =
        lookup
            .find("nm_abi_version")
            .orElseThrow(() ->
                new NativeException(file + " is not libnanomodel: it has no nm_abi_version", null));
    var version = Linker.nativeLinker().downcallHandle(symbol, ABI_VERSION);
    try (var arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(8, 8);
      int status = (int) version.invokeExact(out, out.asSlice(4));
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

  /** The library of this jar, from the first cache folder that can be written to and run from. */
  private static Loaded openUnpacked(List<String> tried) {
    ClassLoader loader = NativeLibrary.class.getClassLoader();
    String resource = "native/" + platform() + "/" + fileName();
    if (loader.getResource(resource) == null) {
      tried.add("resource " + resource + " (not in the jar)");
      return null;
    }
    for (Path cache : LibraryCache.folders()) {
      try {
        Loaded found = open(unpack(loader, resource, cache), tried);
        if (found != null) {
          return found;
        }
      } catch (IOException e) {
        tried.add(cache + " (cannot unpack to it: " + e + ")");
      }
    }
    return null;
  }

  /** Each build has a folder of its own; the GPU backend lies beside the library that opens it. */
  private static Path unpack(ClassLoader loader, String resource, Path cache) throws IOException {
    String hash = LibraryCache.hash(loader.getResourceAsStream(resource));
    Path folder =
        LibraryCache.folder(cache, "native-" + Version.NUMBER + "-" + hash.substring(0, 16));
    String backend = System.mapLibraryName("nanomodel_cuda");
    String beside = resource.replace(fileName(), backend);
    if (loader.getResource(beside) != null && hasCudaDriver()) {
      String backendHash = LibraryCache.hash(loader.getResourceAsStream(beside));
      LibraryCache.unpack(() -> loader.getResourceAsStream(beside), backendHash, folder, backend);
    }
    return LibraryCache.unpack(
        () -> loader.getResourceAsStream(resource), hash, folder, fileName());
  }

  /** Without a driver the backend is of no use, and it is large. */
  private static boolean hasCudaDriver() {
    try (var arena = Arena.ofConfined()) {
      SymbolLookup.libraryLookup("libcuda.so.1", arena);
      return true;
    } catch (IllegalArgumentException e) {
      return false;
    }
  }
}
