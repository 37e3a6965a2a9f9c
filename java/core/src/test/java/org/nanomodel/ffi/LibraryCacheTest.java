package org.nanomodel.ffi;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.ChildJvm;

/**
 * Libraries from the jar: unpacked whole, checked, and from another folder where one will not do.
 */
class LibraryCacheTest {
  @Test
  void processesThatUnpackTogetherGetOneWholeFile(@TempDir Path folder) throws Exception {
    byte[] bytes = new byte[1 << 20];
    new Random(1).nextBytes(bytes);
    List<Callable<Path>> jobs = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      jobs.add(() -> {
        Path file = unpack(bytes, folder);
        assertThat(Files.readAllBytes(file)).isEqualTo(bytes);
        return file;
      });
    }
    var files = new HashSet<Path>();
    try (var pool = Executors.newFixedThreadPool(8)) {
      for (var done : pool.invokeAll(jobs)) {
        files.add(done.get());
      }
    }
    assertThat(files).hasSize(1);
    Path file = files.iterator().next();
    var untouched = Files.getLastModifiedTime(file);
    unpack(bytes, folder);
    assertThat(Files.getLastModifiedTime(file)).isEqualTo(untouched);
    byte[] damaged = bytes.clone();
    damaged[77]++;
    Files.write(file, damaged);
    unpack(bytes, folder);
    assertThat(Files.readAllBytes(file)).as("a damaged file is replaced").isEqualTo(bytes);
    try (var left = Files.list(folder)) {
      assertThat(left).containsExactly(file);
    }
  }

  private static Path unpack(byte[] bytes, Path folder) throws IOException {
    String hash = LibraryCache.hash(new ByteArrayInputStream(bytes));
    return LibraryCache.unpack(() -> new ByteArrayInputStream(bytes), hash, folder, "libx.so");
  }

  @Test
  void aFolderThatOthersCanWriteToIsRefused(@TempDir Path dir) throws IOException {
    Path open = Files.createDirectory(dir.resolve("open"));
    Assumptions.assumeTrue(
        Files.getFileStore(dir).supportsFileAttributeView("posix"), "skipped: no permissions here");
    LibraryCache.requireOwn(open);
    Files.setPosixFilePermissions(open, PosixFilePermissions.fromString("rwxrwxrwx"));
    assertThatThrownBy(() -> LibraryCache.requireOwn(open))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("may be written to by all users");
  }

  @Test
  void theLibraryOfTheJarIsUnpackedOnceAndRuns(@TempDir Path cache) throws Exception {
    requireResource();
    for (int i = 0; i < 2; i++) {
      assertThat(child("-D" + LibraryCache.PROPERTY + "=" + cache))
          .startsWith("loaded " + cache + "/native-");
    }
    try (var files = Files.walk(cache)) {
      assertThat(files.filter(Files::isRegularFile)).hasSize(1);
    }
  }

  @Test
  void aFolderThatCannotBeWrittenToIsPassedBy(@TempDir Path dir) throws Exception {
    requireResource();
    Path home = Files.createDirectories(dir.resolve("home"));
    Files.writeString(home.resolve(".cache"), "a file where the folder should be");
    Path temp = Files.createDirectories(dir.resolve("temp"));
    assertThat(child("-Duser.home=" + home, "-Djava.io.tmpdir=" + temp))
        .startsWith("loaded " + temp + "/nanomodel-");
  }

  /** A mount of our own shows it in full; root may make one, others skip. */
  @Test
  void aNoexecFolderIsPassedByAndNamedWithTheReasonOfTheLoader(@TempDir Path dir) throws Exception {
    requireResource();
    Path noexec = Files.createDirectories(dir.resolve("noexec"));
    Assumptions.assumeTrue(
        run("mount", "-t", "tmpfs", "-o", "noexec,size=64m", "tmpfs", noexec.toString()) == 0,
        "skipped: no right to mount");
    try {
      Path temp = Files.createDirectories(dir.resolve("temp"));
      assertThat(child("-Duser.home=" + noexec, "-Djava.io.tmpdir=" + temp))
          .startsWith("loaded " + temp + "/nanomodel-");
      assertThat(child("-D" + LibraryCache.PROPERTY + "=" + noexec))
          .startsWith("cannot load")
          .contains(noexec + "/native-", "failed to map segment", LibraryCache.PROPERTY);
    } finally {
      run("umount", noexec.toString());
    }
  }

  private static void requireResource() {
    String resource = "native/" + NativeLibrary.platform() + "/" + NativeLibrary.fileName();
    Assumptions.assumeTrue(
        LibraryCacheTest.class.getClassLoader().getResource(resource) != null,
        "skipped: built without " + resource);
  }

  private static int run(String... command) throws Exception {
    try {
      return new ProcessBuilder(command).redirectErrorStream(true).start().waitFor();
    } catch (IOException e) {
      return -1;
    }
  }

  /** What a JVM that has only the class path prints. */
  private static String child(String... options) throws Exception {
    var builder = ChildJvm.of(List.of(options), Load.class);
    for (String name : List.of("XDG_CACHE_HOME", "NANOMODEL_CACHE_DIR", "NANOMODEL_LIBRARY_PATH")) {
      builder.environment().remove(name);
    }
    return ChildJvm.output(builder.start());
  }

  /** Says from where the library came, or why it did not. */
  static final class Load {
    public static void main(String[] args) {
      try {
        System.out.println("loaded " + NativeLibrary.path());
      } catch (org.nanomodel.NativeException e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
