package org.nanomodel.safetensors;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Locale;
import java.util.concurrent.ThreadLocalRandom;

/**
 * A file that appears under its name whole or not at all: written under a temporary name in the
 * same folder, forced to the disk, renamed, and the folder forced too. An old file of that name is
 * never written to, so maps of it stay good. A process that is killed leaves the temporary file.
 */
final class AtomicFile implements AutoCloseable {
  private final Path target;
  private final Path temp;
  private final FileChannel channel;
  private boolean committed;

  private AtomicFile(Path target, Path temp, FileChannel channel) {
    this.target = target;
    this.temp = temp;
    this.channel = channel;
  }

  static AtomicFile create(Path target) throws IOException {
    String suffix =
        String.format(
            Locale.ROOT,
            ".tmp-%d-%08x",
            ProcessHandle.current().pid(),
            ThreadLocalRandom.current().nextInt());
    Path temp = target.resolveSibling(target.getFileName() + suffix);
    var channel =
        FileChannel.open(
            temp, StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE);
    return new AtomicFile(target, temp, channel);
  }

  FileChannel channel() {
    return channel;
  }

  /** Forces the content to the disk and ends the writing. */
  void seal() throws IOException {
    if (channel.isOpen()) {
      channel.force(true);
      channel.close();
    }
  }

  /** Gives the sealed file its name. */
  void commit() throws IOException {
    Files.move(temp, target, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    committed = true;
    forceFolder(target);
  }

  /** Makes renames and deletions in the folder of {@code file} outlast a power cut. */
  static void forceFolder(Path file) throws IOException {
    if (file.getFileSystem().getSeparator().equals("\\")) {
      return; // Windows does not open folders as files
    }
    try (var folder = FileChannel.open(folder(file), StandardOpenOption.READ)) {
      folder.force(true);
    }
  }

  static Path folder(Path file) {
    return file.toAbsolutePath().getParent();
  }

  /** Removes the temporary file unless it was committed. */
  @Override
  public void close() throws IOException {
    try {
      channel.close();
    } finally {
      if (!committed) {
        Files.deleteIfExists(temp);
      }
    }
  }
}
