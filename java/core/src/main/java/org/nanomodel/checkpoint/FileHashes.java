package org.nanomodel.checkpoint;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.InstantSource;
import org.nanomodel.NanoModelException;

/**
 * SHA-256 of files, each computed once: a folder remembers it with the file's size, times of
 * modification and change, and inode, and forgets it when one of them is another. A file that was
 * changed in the last seconds is hashed again, since a change within the grain of the clock would
 * leave all of them as they are.
 */
final class FileHashes {
  private static final Duration GRAIN = Duration.ofSeconds(2);

  private static final int HEX = 64; // digits of a hash

  private final Path folder;
  private final InstantSource clock;

  FileHashes(Path folder, InstantSource clock) {
    this.folder = folder;
    this.clock = clock;
  }

  /** What changes whenever a file does, without reading it. */
  static String stamp(Path file) {
    try {
      boolean unix = file.getFileSystem().supportedFileAttributeViews().contains("unix");
      String inode = unix ? Files.getAttribute(file, "unix:ino").toString() : "-";
      return Files.size(file)
          + " "
          + Files.getLastModifiedTime(file).toInstant()
          + " "
          + changed(file).toInstant()
          + " "
          + inode;
    } catch (IOException e) {
      throw DurableFiles.failed("read", file, e);
    }
  }

  private static FileTime changed(Path file) throws IOException {
    boolean unix = file.getFileSystem().supportedFileAttributeViews().contains("unix");
    return unix
        ? (FileTime) Files.getAttribute(file, "unix:ctime")
        : Files.getLastModifiedTime(file);
  }

  /** SHA-256 of a file's bytes, in hexadecimal. */
  String sha256(Path file) throws IOException {
    Path real = file.toRealPath();
    String stamp = stamp(real);
    Path memory = folder.resolve(DurableFiles.sha256(real.toString()));
    String known = Files.exists(memory) ? new String(Files.readAllBytes(memory), UTF_8) : "";
    if (known.startsWith(stamp + " ") && known.length() == stamp.length() + 1 + HEX) {
      return known.substring(known.length() - HEX);
    }
    boolean settled = changed(real).toInstant().isBefore(clock.instant().minus(GRAIN));
    String hash = DurableFiles.sha256(real);
    if (settled && stamp(real).equals(stamp)) {
      remember(memory, stamp + " " + hash);
    }
    return hash;
  }

  private void remember(Path memory, String text) throws IOException {
    try {
      Files.createDirectories(folder);
      DurableFiles.write(memory, text.getBytes(UTF_8));
    } catch (NanoModelException e) {
      throw new IOException(e.getMessage(), e);
    }
  }
}
