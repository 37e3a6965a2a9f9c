package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.nanomodel.safetensors.TestFiles.entry;
import static org.nanomodel.safetensors.TestFiles.file;
import static org.nanomodel.safetensors.TestFiles.good;
import static org.nanomodel.safetensors.TestFiles.header;

import com.sun.management.UnixOperatingSystemMXBean;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What a valid file gives. */
class ReadTest {
  @TempDir Path folder;

  private Path write(byte[] content) throws IOException {
    return TestFiles.write(folder, "x.safetensors", content);
  }

  @ParameterizedTest
  @EnumSource
  void tensorsAreDescribedAndTheirBytesSliced(SafetensorsFile.Mode mode) throws IOException {
    try (var open = SafetensorsFile.open(write(good()), mode)) {
      assertThat(open.tensors())
          .containsExactly(
              new TensorInfo("a", DType.F32, new long[] {2, 3}, 0, 24),
              new TensorInfo("b", DType.U8, new long[] {4}, 24, 28));
      assertThat(open.metadata()).containsExactly(Map.entry("format", "pt"));
      assertThat(open.segment("b").toArray(ValueLayout.JAVA_BYTE)).containsExactly(24, 25, 26, 27);
      assertThat(open.segment("a").byteSize()).isEqualTo(24);
      assertThat(open.segment("a").isReadOnly()).isTrue();
      assertThat(open.tensor("a").elements()).isEqualTo(6);
      assertThat(open.tensor("a").dim(1)).isEqualTo(3);
      assertThat(open.find("c")).isEmpty();
    }
  }

  @Test
  void entriesMayComeInAnyOrderWithSpacesAndFieldsOfTomorrow() throws IOException {
    String text =
        " {\"b\" : {\"data_offsets\":[2,3],\"new\":{\"x\":[1,{}]},\"shape\":[1],\"dtype\":\"BOOL\"},\n"
            + "\t\"\\u0061\":{\"\\u0064type\":\"I16\",\"shape\":[1],\"data_offsets\":[0,2]}}  \r\n ";
    try (var open = SafetensorsFile.open(write(file(text.strip() + "   ", 3)))) {
      assertThat(open.tensors()).extracting(TensorInfo::name).containsExactly("a", "b");
      assertThat(open.metadata()).isEmpty();
    }
  }

  @ParameterizedTest
  @EnumSource
  void emptyFileScalarsAndZeroSizesAreLegal(SafetensorsFile.Mode mode) throws IOException {
    try (var open = SafetensorsFile.open(write(file("{}", 0)), mode)) {
      assertThat(open.tensors()).isEmpty();
    }
    String only = header(entry("z", "F32", "[0,9223372036854775807]", "[0,0]"));
    try (var open = SafetensorsFile.open(write(file(only, 0)), mode)) {
      assertThat(open.segment("z").byteSize()).isZero();
    }
    String mixed =
        header(
            entry("zeroAtEnd", "F32", "[3,0,2]", "[5,5]"),
            entry("bool", "BOOL", "[]", "[4,5]"),
            entry("scalar", "F32", "[]", "[0,4]"),
            entry("zeroAtStart", "U8", "[0]", "[0,0]"),
            entry("zeroBetween", "U8", "[0]", "[4,4]"));
    try (var open = SafetensorsFile.open(write(file(mixed, 5)), mode)) {
      assertThat(open.tensor("scalar").rank()).isZero();
      assertThat(open.tensor("scalar").elements()).isEqualTo(1);
      assertThat(open.segment("bool").get(ValueLayout.JAVA_BYTE, 0)).isEqualTo((byte) 4);
      assertThat(open.segment("zeroAtEnd").byteSize()).isZero();
      assertThat(open.tensor("zeroAtEnd").elements()).isZero();
    }
  }

  @Test
  void sixtyFourDimensionsAndLongOrForeignNamesAreLegal() throws IOException {
    String ones = "[" + "1,".repeat(63) + "1]";
    String longest = "n".repeat(4096);
    String foreign = "层.\uD83E\uDD14/a..b/…";
    String text =
        header(
            entry("r", "U8", ones, "[0,1]"),
            entry(longest, "U8", "[]", "[1,2]"),
            entry(foreign, "U8", "[]", "[2,3]"));
    try (var open = SafetensorsFile.open(write(file(text, 3)))) {
      assertThat(open.tensor("r").rank()).isEqualTo(64);
      assertThat(open.tensor(longest).begin()).isEqualTo(1);
      assertThat(open.tensor(foreign).begin()).isEqualTo(2);
    }
  }

  @ParameterizedTest
  @EnumSource
  void everyTypeHasItsSize(DType type) throws IOException {
    int bytes = type.bits(); // eight elements
    String text = header(entry("x", type.name(), "[2,4]", "[0," + bytes + "]"));
    try (var open = SafetensorsFile.open(write(file(text, bytes)))) {
      assertThat(open.tensor("x").dtype()).isEqualTo(type);
      assertThat(open.tensor("x").byteSize()).isEqualTo(type.byteSize(8));
    }
    Path wrong = write(file(header(entry("x", type.name(), "[2,8]", "[0," + bytes + "]")), bytes));
    Refusal.of(() -> SafetensorsFile.open(wrong)).names(wrong).says("expected " + 2 * bytes);
  }

  @Test
  void unalignedOldFilesAreRead() throws IOException {
    String text = header(entry("a", "U8", "[1]", "[0,1]"), entry("b", "F32", "[1]", "[1,5]"));
    try (var open = SafetensorsFile.open(write(file(text, 5)))) {
      assertThat(Float.floatToRawIntBits(Floats.decode(DType.F32, open.segment("b"))[0]))
          .isEqualTo(0x04030201);
    }
  }

  @ParameterizedTest
  @EnumSource
  void afterCloseEverythingIsIllegalState(SafetensorsFile.Mode mode) throws IOException {
    SafetensorsFile open = SafetensorsFile.open(write(good()), mode);
    MemorySegment segment = open.segment("b");
    open.close();
    open.close();
    assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> open.segment("b")).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> open.tensor("b")).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(open::tensors).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(open::metadata).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(open::checkNotCut).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void unknownTensorIsNamedOnOneLine() throws IOException {
    Path path = write(good());
    try (var open = SafetensorsFile.open(path)) {
      Refusal.of(() -> open.segment("x\ny")).names(path).says("tensor 'x\\u000ay': got no such");
    }
  }

  @Test
  void aCopySurvivesTruncationAndAMapReportsIt() throws IOException {
    Path path = write(good());
    try (var copy = SafetensorsFile.open(path, SafetensorsFile.Mode.COPY);
        var map = SafetensorsFile.open(path);
        var channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
      map.checkNotCut();
      channel.truncate(20);
      assertThat(copy.segment("b").get(ValueLayout.JAVA_BYTE, 3)).isEqualTo((byte) 27);
      Refusal.of(map::checkNotCut).names(path).says("file length: got 20 bytes");
    }
  }

  /** The file is sparse; only its header and the last tensor's 8 bytes take room. */
  @Test
  void tensorBeyondFourGigabytesIsRead() throws IOException {
    long first = (4L << 30) + 16;
    String text =
        header(
            entry("big", "U8", "[" + first + "]", "[0," + first + "]"),
            entry("far", "I64", "[1]", "[" + first + "," + (first + 8) + "]"));
    byte[] start = file(text, 0);
    Path path = write(start);
    TestFiles.extend(path, start.length + first);
    byte[] eight =
        ByteBuffer.allocate(8)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(0, 0x1122334455667788L)
            .array();
    Files.write(path, eight, StandardOpenOption.APPEND);
    try (var open = SafetensorsFile.open(path)) {
      var layout = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
      assertThat(open.segment("far").get(layout, 0)).isEqualTo(0x1122334455667788L);
      assertThat(open.segment("big").byteSize()).isEqualTo(first);
      assertThat(open.segment("big").get(ValueLayout.JAVA_BYTE, first - 1)).isZero();
    } finally {
      Files.delete(path);
    }
  }

  @Test
  void openingAHundredTimesLeavesNoHandlesOpen() throws IOException {
    Path path = write(good());
    Path bad = TestFiles.write(folder, "bad", "12345678{".getBytes(StandardCharsets.UTF_8));
    long before = openHandles();
    for (int i = 0; i < 100; i++) {
      SafetensorsFile.open(path).close();
      Refusal.of(() -> SafetensorsFile.open(bad)).names(bad).says("header length");
    }
    assertThat(openHandles()).isLessThan(before + 50);
  }

  private static long openHandles() {
    var system = ManagementFactory.getOperatingSystemMXBean();
    return system instanceof UnixOperatingSystemMXBean unix ? unix.getOpenFileDescriptorCount() : 0;
  }
}
