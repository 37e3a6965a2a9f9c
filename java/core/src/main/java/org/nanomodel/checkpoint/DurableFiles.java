package org.nanomodel.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.concurrent.ThreadLocalRandom;
import org.nanomodel.NanoModelException;

/**
 * Files that are either whole or not there, also after a power cut: temporary name, fsync, rename,
 * fsync of the folder.
 */
public final class DurableFiles {
  private static final int CHUNK = 1 << 20;

  private DurableFiles() {}

  /** Writes {@code bytes} under {@code target}, replacing what was there. */
  public static void write(Path target, byte[] bytes) {
    replace(
        target,
        true,
        channel -> {
          var buffer = ByteBuffer.wrap(bytes);
          while (buffer.hasRemaining()) {
            channel.write(buffer);
          }
        });
  }

  /** Copies a file's content; time stamps and permissions stay behind. */
  public static void copy(Path source, Path target) {
    replace(
        target,
        true,
        channel -> {
          try (var in = FileChannel.open(source, StandardOpenOption.READ)) {
            long size = in.size();
            for (long at = 0; at < size; ) {
              long n = in.transferTo(at, size - at, channel);
              if (n <= 0) {
                throw new IOException(source + " became shorter while it was copied");
              }
              at += n;
            }
          }
        });
  }

  /** What a new file is to hold. */
  interface Body {
    void writeTo(FileChannel channel) throws IOException;
  }

  /**
   * Writes a file under a name of its own and renames it.
   *
   * @param force whether it outlasts a power cut; else what is left after one may be damaged
   */
  static void replace(Path target, boolean force, Body body) {
    String suffix =
        String.format(
            ".tmp-%d-%08x", ProcessHandle.current().pid(), ThreadLocalRandom.current().nextInt());
    Path temp = target.resolveSibling(target.getFileName() + suffix);
    try {
      try (var channel =
          FileChannel.open(temp, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        body.writeTo(channel);
        if (force) {
          channel.force(true);
        }
      }
      Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
      if (force) {
        forceFolder(target.toAbsolutePath().getParent());
      }
    } catch (IOException e) {
      throw failed("write", target, e);
    } finally {
      deleteQuietly(temp);
    }
  }

  /** Makes renames and deletions in a folder outlast a power cut. */
  public static void forceFolder(Path folder) throws IOException {
    if (folder.getFileSystem().getSeparator().equals("\\")) {
      return; // Windows does not open folders as files
    }
    try (var channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  /** Deletes a file, or a folder with all that is in it; links are deleted, not followed. */
  public static void deleteTree(Path root) {
    if (!Files.exists(root, LinkOption.NOFOLLOW_LINKS)) {
      return;
    }
    try (var files = Files.walk(root)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(file);
      }
    } catch (IOException e) {
      throw failed("delete", root, e);
    }
  }

  /** SHA-256 of a file, in hexadecimal. */
  public static String sha256(Path file) {
    try (var channel = FileChannel.open(file, StandardOpenOption.READ)) {
      var digest = sha256();
      var buffer = ByteBuffer.allocate(CHUNK);
      while (channel.read(buffer) >= 0) {
        digest.update(buffer.flip());
        buffer.clear();
      }
      return hex(digest);
    } catch (IOException e) {
      throw failed("read", file, e);
    }
  }

  /** SHA-256 of a text in UTF-8, in hexadecimal. */
  static String sha256(String text) {
    var digest = sha256();
    digest.update(text.getBytes(UTF_8));
    return hex(digest);
  }

  /** Feeds the bytes of a segment to a digest. */
  public static void update(MessageDigest digest, MemorySegment bytes) {
    for (long at = 0; at < bytes.byteSize(); at += CHUNK) {
      digest.update(bytes.asSlice(at, Math.min(CHUNK, bytes.byteSize() - at)).asByteBuffer());
    }
  }

  public static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java platform has SHA-256", e);
    }
  }

  public static String hex(MessageDigest digest) {
    return HexFormat.of().formatHex(digest.digest());
  }

  /** The IOException of a file, as one line that names it. */
  public static NanoModelException failed(String what, Path file, IOException e) {
    return new NanoModelException(
        "cannot " + what + " " + file + ": " + e.getClass().getSimpleName() + " " + e.getMessage(),
        e);
  }

  private static void deleteQuietly(Path file) {
    try {
      Files.deleteIfExists(file);
    } catch (IOException e) {
      System.getLogger(DurableFiles.class.getName())
          .log(System.Logger.Level.WARNING, "cannot delete {0}: {1}", file, e.getMessage());
    }
  }
}
