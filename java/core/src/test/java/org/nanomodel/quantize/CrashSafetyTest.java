package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.OutputDirectory;
import org.nanomodel.checkpoint.TinyModel;

/** What is on the disk after a power cut, a full disk, and beside what a killed process left. */
class CrashSafetyTest {
  private static final Pattern SYNC = Pattern.compile("fsync\\(\\d+<([^>]+)>\\)");
  private static final Pattern RENAME =
      Pattern.compile("rename(?:at2?)?\\(.*?\"([^\"]+)\", .*?\"([^\"]+)\"");

  @TempDir Path given;
  private Path temp; // without links, as the system names it
  private Path model;

  @BeforeEach
  void writeModel() throws IOException {
    temp = given.toRealPath();
    model = new TinyModel(64, 96, 3, false).write(temp.resolve("model"));
  }

  private int run(String... before) throws IOException, InterruptedException {
    Process child = ChildJob.start(List.of(before), log(), model, temp.resolve("out"), Method.RTN);
    assertThat(child.waitFor(120, TimeUnit.SECONDS)).isTrue();
    return child.exitValue();
  }

  private Path log() {
    return temp.resolve("child.log");
  }

  /** An event of the trace: a file or folder that is on the disk now, or one that has its name. */
  private record Event(boolean sync, Path path, Path from) {}

  private List<Event> events(Path trace) throws IOException {
    var events = new ArrayList<Event>();
    for (String line : Files.readAllLines(trace)) {
      Matcher sync = SYNC.matcher(line);
      Matcher rename = RENAME.matcher(line);
      if (sync.find() && sync.group(1).startsWith(temp.toString())) {
        events.add(new Event(true, Path.of(sync.group(1)), null));
      } else if (rename.find() && rename.group(2).startsWith(temp.toString())) {
        events.add(new Event(false, Path.of(rename.group(2)), Path.of(rename.group(1))));
      }
    }
    return events;
  }

  /** Against a power cut: what has its name is on the disk, and then the name is. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void nothingGetsItsNameBeforeItIsOnTheDisk() throws Exception {
    assumeTrue(traces(), "strace is not there, or may not trace");
    Path trace = temp.resolve("trace");
    int code = run("strace", "-f", "-y", "-e", "trace=/^(fsync|rename.*)$", "-o", trace.toString());
    assertThat(code).as(Files.readString(log())).isZero();
    List<Event> events = events(trace);
    var named = new ArrayList<String>();
    for (int i = 0; i < events.size(); i++) {
      Event e = events.get(i);
      if (!e.sync()) {
        named.add(e.path().getFileName().toString());
        assertThat(events.subList(0, i)).contains(new Event(true, e.from(), null));
        assertThat(events.subList(i, events.size()))
            .contains(new Event(true, e.path().getParent(), null));
      }
    }
    assertThat(named)
        .startsWith("job.json", "layer-00000.safetensors", "layer-00000.json")
        .endsWith("config.json", "out")
        .containsSubsequence("layer-00002.json", "model.safetensors", "config.json");
  }

  private static boolean traces() throws InterruptedException {
    try {
      Process probe = new ProcessBuilder("strace", "-o", "/dev/null", "true").start();
      return probe.waitFor() == 0;
    } catch (IOException e) {
      return false;
    }
  }

  /** A limit of the size of a file is to a writer what a full disk is. */
  @Test
  @DisabledOnOs(OS.WINDOWS)
  void aFullDiskIsAnErrorAndTheOldCheckpointStays() throws Exception {
    Path out = temp.resolve("out");
    assertThat(run()).as(Files.readString(log())).isZero();
    var old = QuantizeJobTest.contents(out);
    long size = Files.size(out.resolve("model.safetensors"));
    model = new TinyModel(64, 96, 3, true).write(temp.resolve("other"));
    String limit = "ulimit -f " + size / 2 / 1024 + "; exec \"$@\"";
    assertThat(run("bash", "-c", limit, "bash")).isOne();
    assertThat(Files.readString(log()))
        .contains("model.safetensors: write tensor")
        .contains("File too large");
    assertThat(QuantizeJobTest.contents(out)).isEqualTo(old);
    assertThat(run()).as(Files.readString(log())).isZero();
    assertThat(QuantizeJobTest.contents(out)).isNotEqualTo(old);
    assertThat(temp.resolve("out.job")).doesNotExist();
  }

  @Test
  void whatHadNoNameYetWhenTheProcessDiedDoesNotCount() throws Exception {
    assertThat(run()).as(Files.readString(log())).isZero();
    var whole = QuantizeJobTest.contents(temp.resolve("out"));
    Files.move(temp.resolve("out"), temp.resolve("whole"));
    Path job = temp.resolve("out.job");
    Files.createDirectories(job.resolve("checkpoint"));
    Files.writeString(job.resolve("checkpoint/model.safetensors.tmp-1-00000000"), "half");
    Files.writeString(job.resolve("checkpoint/config.json"), "{}");
    Files.writeString(job.resolve("layer-00001.safetensors.tmp-1-00000000"), "half");
    Files.writeString(job.resolve("layer-00002.safetensors"), "no record of it");
    Files.writeString(job.resolve("lock"), "1");
    assertThat(run()).as(Files.readString(log())).isZero();
    assertThat(QuantizeJobTest.contents(temp.resolve("out"))).isEqualTo(whole);
    assertThat(job).doesNotExist();
  }

  @Test
  void aDiskWithoutRoomIsRefusedBeforeAnyWork() {
    try (var source = ModelDirectory.open(model)) {
      assertThatThrownBy(
              () -> OutputDirectory.of(temp.resolve("out"), source).requireSpace(Long.MAX_VALUE))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("bytes free, " + Long.MAX_VALUE + " are needed");
    }
  }

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void aFolderThatMayNotBeWrittenIsRefusedBeforeAnyWork() throws IOException {
    Path folder = Files.createDirectory(temp.resolve("closed"));
    Files.setPosixFilePermissions(folder, PosixFilePermissions.fromString("r-xr-xr-x"));
    assumeTrue(!Files.isWritable(folder), "this user may write everywhere");
    try (var source = ModelDirectory.open(model)) {
      assertThatThrownBy(() -> OutputDirectory.of(folder.resolve("out"), source).requireSpace(0))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining(folder + " is not writable");
    }
  }
}
