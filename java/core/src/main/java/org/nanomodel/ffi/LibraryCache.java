package org.nanomodel.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.AtomicMoveNotSupportedException;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;
import java.util.Objects;

/**
 * Where libraries that come in a jar are unpacked to, since a loader wants files. Folders are tried
 * in turn, because a folder may be read-only or mounted noexec; a file appears under its name whole
 * or not at all, and is compared with the jar before each use.
 */
public final class LibraryCache {
  /** Where to unpack to, and nowhere else; {@code NANOMODEL_CACHE_DIR} in the environment. */
  public static final String PROPERTY = "nanomodel.cache.dir";

  /** What to do when no folder will do. */
  public static final String REMEDY =
      "name a writable folder that allows execution with -D" + PROPERTY + " or NANOMODEL_CACHE_DIR";

  private static final int OTHERS_WRITE = 0002;
  private static final int STICKY = 01000;

  private LibraryCache() {}

  /**
   * The folders, in the order in which they are tried: the one that was set, alone; or else {@code
   * XDG_CACHE_HOME/nanomodel} ({@code ~/.cache/nanomodel}) and one of this user's in the directory
   * for temporary files, and in {@code /var/tmp}, which is often mounted otherwise.
   */
  public static List<Path> folders() {
    String chosen = chosen();
    if (!chosen.isBlank()) {
      return List.of(Path.of(chosen));
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    Path home =
        xdg == null || xdg.isBlank()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(xdg);
    String own = "nanomodel-" + System.getProperty("user.name").replaceAll("\\W", "_");
    return List.of(
        home.resolve("nanomodel"),
        Path.of(System.getProperty("java.io.tmpdir"), own),
        Path.of("/var/tmp", own));
  }

  private static String chosen() {
    String property = System.getProperty(PROPERTY);
    return property != null
        ? property
        : Objects.requireNonNullElse(System.getenv("NANOMODEL_CACHE_DIR"), "");
  }

  /** A folder in a cache folder, made if it is missing. */
  public static Path folder(Path cache, String name) throws IOException {
    boolean posix = FileSystems.getDefault().supportedFileAttributeViews().contains("unix");
    if (posix && !Files.exists(cache)) {
      Files.createDirectories(cache.toAbsolutePath().getParent());
      var mine = PosixFilePermissions.fromString("rwx------");
      Files.createDirectories(cache, PosixFilePermissions.asFileAttribute(mine));
    }
    Path folder = Files.createDirectories(cache.resolve(name));
    if (posix && chosen().isBlank()) {
      requireOwn(cache);
      requireOwn(folder);
    }
    return folder;
  }

  /**
   * A name in a directory that all users share can be taken by another one, who would then choose
   * what is loaded here.
   */
  static void requireOwn(Path folder) throws IOException {
    int mode = (int) Files.getAttribute(folder, "unix:mode", LinkOption.NOFOLLOW_LINKS);
    int owner = (int) Files.getAttribute(folder, "unix:uid", LinkOption.NOFOLLOW_LINKS);
    Path process = Path.of("/proc/self");
    Path mine = Files.exists(process) ? process : Path.of(System.getProperty("user.home"));
    int me = (int) Files.getAttribute(mine, "unix:uid");
    if (owner != me && owner != 0) {
      throw new IOException(folder + " belongs to another user");
    }
    if ((mode & OTHERS_WRITE) != 0 && (mode & STICKY) == 0) {
      throw new IOException(folder + " may be written to by all users");
    }
  }

  /** SHA-256 of what a stream gives. */
  public static String hash(InputStream in) throws IOException {
    try (var digest = new DigestInputStream(in, MessageDigest.getInstance("SHA-256"))) {
      digest.transferTo(java.io.OutputStream.nullOutputStream());
      return HexFormat.of().formatHex(digest.getMessageDigest().digest());
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Opens the same bytes each time, such as a resource. */
  @FunctionalInterface
  public interface Source {
    InputStream open() throws IOException;
  }

  /**
   * The file {@code folder/name} with the bytes of {@code source}, whose hash is given: the one
   * that is there if it has them, or a new one, written beside the name and renamed, so that
   * processes that start together never see half a file.
   */
  public static Path unpack(Source source, String hash, Path folder, String name)
      throws IOException {
    Path target = folder.resolve(name);
    if (Files.isRegularFile(target) && hash(Files.newInputStream(target)).equals(hash)) {
      return target;
    }
    Path part = Files.createTempFile(folder, name, ".tmp");
    try (InputStream in = source.open()) {
      Files.copy(in, part, StandardCopyOption.REPLACE_EXISTING);
      try {
        return Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
      } catch (AtomicMoveNotSupportedException e) {
        return Files.move(part, target, StandardCopyOption.REPLACE_EXISTING);
      }
    } finally {
      Files.deleteIfExists(part);
    }
  }
}
