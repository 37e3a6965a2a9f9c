package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.JsonFactory;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What is written is read again; what fails leaves the old file. */
class WriterTest {
  private static final TensorSpec A = new TensorSpec("a", DType.U8, 4);
  private static final TensorSpec B = new TensorSpec("b", DType.F32);

  @TempDir Path folder;

  private static MemorySegment bytes(int... values) {
    byte[] data = new byte[values.length];
    IntStream.range(0, data.length).forEach(i -> data[i] = (byte) values[i]);
    return MemorySegment.ofArray(data);
  }

  private Path target() {
    return folder.resolve("m.safetensors");
  }

  /** The bytes Python's safetensors 0.8.0 writes for these tensors and this metadata. */
  @Test
  void bytesEqualTheReferenceImplementations() throws IOException {
    try (var writer = SafetensorsWriter.create(target(), List.of(A, B))) {
      writer.put("b", MemorySegment.ofArray(new float[] {1f}));
      writer.put("a", bytes(1, 2, 3, 4));
      writer.finish();
    }
    String header =
        "{\"__metadata__\":{\"format\":\"pt\"},"
            + "\"b\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
            + "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}";
    String padded = header + " ".repeat((8 - header.length() % 8) % 8);
    String data = "\0\0\u0080?\1\2\3\4";
    String expected = (char) padded.length() + "\0\0\0\0\0\0\0" + padded + data;
    assertThat(new String(Files.readAllBytes(target()), StandardCharsets.ISO_8859_1))
        .isEqualTo(expected);
  }

  /** U+1F914 sorts after U+FFEE, as in UTF-8 and unlike in UTF-16, and is not escaped. */
  @Test
  void namesAreUtf8InTheOrderOfUtf8() throws IOException {
    List<TensorSpec> plan =
        Stream.of("\uD83E\uDD14", "\uffee", "z", "\u00e9")
            .map(name -> new TensorSpec(name, DType.U8, 0))
            .toList();
    try (var writer = SafetensorsWriter.create(target(), plan)) {
      plan.forEach(spec -> writer.put(spec.name(), bytes()));
      writer.finish();
      assertThat(writer.layout())
          .extracting(TensorInfo::name)
          .containsExactly("z", "\u00e9", "\uffee", "\uD83E\uDD14");
    }
    assertThat(new String(Files.readAllBytes(target()), StandardCharsets.UTF_8))
        .contains("\"\uD83E\uDD14\":{\"dtype\"");
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void randomModelsSurviveARoundTrip(long seed) {
    Random random = new Random(seed);
    Map<String, byte[]> data = new LinkedHashMap<>();
    List<TensorSpec> plan = new ArrayList<>();
    for (int i = random.nextInt(40); i >= 0; i--) {
      DType dtype = DType.values()[random.nextInt(DType.values().length)];
      long[] shape = random.ints(random.nextInt(4), 0, 6).asLongStream().toArray();
      if (dtype.bits() % 8 != 0) {
        shape = new long[] {4, random.nextInt(5)};
      }
      StringBuilder name = new StringBuilder("t").append(i);
      random.ints(5, 0x20, 0x2fff).filter(Character::isLetter).forEach(name::appendCodePoint);
      TensorSpec spec = new TensorSpec(name.toString(), dtype, shape);
      byte[] content = new byte[(int) spec.byteSize()];
      random.nextBytes(content);
      plan.add(spec);
      data.put(spec.name(), content);
    }
    Map<String, String> metadata = Map.of("k\n\"\u0001", "v\\\u00e9\uD83E\uDD14", "", "");
    List<String> order = new ArrayList<>(data.keySet());
    Collections.shuffle(order, random);

    try (var writer = SafetensorsWriter.create(target(), plan, metadata)) {
      order.forEach(name -> put(writer, name, data.get(name), random));
      writer.finish();
      assertThatThrownBy(writer::finish).isInstanceOf(IllegalStateException.class);
    }
    try (var open = SafetensorsFile.open(target())) {
      assertThat(open.metadata()).isEqualTo(metadata);
      assertThat(open.tensors()).hasSize(plan.size());
      for (TensorSpec spec : plan) {
        TensorInfo info = open.tensor(spec.name());
        assertThat(info.dtype()).isEqualTo(spec.dtype());
        assertThat(info.shape()).isEqualTo(spec.shape());
        assertThat(open.segment(spec.name()).toArray(ValueLayout.JAVA_BYTE))
            .isEqualTo(data.get(spec.name()));
        int alignment = Math.max(1, spec.dtype().bits() / 8);
        assertThat(open.segment(spec.name()).address() % alignment).isZero();
      }
    }
  }

  /** By heap segment, native segment or callback in pieces, as chance will have it. */
  private static void put(SafetensorsWriter writer, String name, byte[] data, Random random) {
    switch (random.nextInt(3)) {
      case 0 -> writer.put(name, MemorySegment.ofArray(data));
      case 1 -> {
        try (Arena arena = Arena.ofShared()) {
          MemorySegment copy = arena.allocate(data.length);
          copy.copyFrom(MemorySegment.ofArray(data));
          writer.put(name, copy);
        }
      }
      default ->
          writer.put(
              name,
              out -> {
                for (int at = 0; at < data.length; at += 7) {
                  out.write(ByteBuffer.wrap(data, at, Math.min(7, data.length - at)));
                }
              });
    }
  }

  @Test
  void threadsMayPutAtTheSameTime() {
    List<TensorSpec> plan =
        IntStream.range(0, 200).mapToObj(i -> new TensorSpec("t" + i, DType.I32, 1000)).toList();
    try (var writer = SafetensorsWriter.create(target(), plan)) {
      IntStream.range(0, 200)
          .parallel()
          .forEach(i -> {
            int[] data = new int[1000];
            Arrays.fill(data, i);
            writer.put("t" + i, MemorySegment.ofArray(data));
          });
      writer.finish();
    }
    try (var open = SafetensorsFile.open(target())) {
      for (int i = 0; i < 200; i++) {
        assertThat(open.segment("t" + i).getAtIndex(ValueLayout.JAVA_INT_UNALIGNED, 999))
            .isEqualTo(i);
      }
    }
  }

  /** Source and target of a conversion may be one file. */
  @Test
  void replacingAMappedFileLeavesTheMapWhole() throws IOException {
    Files.write(target(), TestFiles.good());
    try (var old = SafetensorsFile.open(target())) {
      try (var writer =
          SafetensorsWriter.create(target(), List.of(new TensorSpec("b", DType.U8, 4)))) {
        writer.put("b", old.segment("b"));
        writer.finish();
      }
      assertThat(old.segment("a").get(ValueLayout.JAVA_BYTE, 23)).isEqualTo((byte) 23);
      old.checkNotCut();
    }
    try (var open = SafetensorsFile.open(target())) {
      assertThat(open.tensors()).hasSize(1);
      assertThat(open.segment("b").get(ValueLayout.JAVA_BYTE, 3)).isEqualTo((byte) 27);
    }
    assertOnlyTheTargetIsThere();
  }

  interface Failure {
    void in(SafetensorsWriter writer);
  }

  static Stream<Arguments> failures() {
    return Stream.of(
        failure("tensors: got 1 put, tensor 'b' is missing, expected 2", SafetensorsWriter::finish),
        failure("tensor 'a': got a second put", w -> w.put("a", bytes(1, 2, 3, 4))),
        failure("tensor 'c': got a put, expected a tensor of the plan", w -> w.put("c", bytes(1))),
        failure("tensor 'b' data: got 3 bytes, expected 4", w -> w.put("b", bytes(1, 2, 3))),
        failure("tensor 'b' data: got 5 bytes", w -> w.put("b", bytes(1, 2, 3, 4, 5))),
        failure("tensor 'b' data: got 0 bytes", w -> w.put("b", out -> {})),
        failure(
            "tensor 'b' data: got 5 bytes or more",
            w -> w.put("b", out -> out.write(ByteBuffer.allocate(5)))),
        failure(
            "write tensor 'b': got IOException no more\\u000adata",
            w ->
                w.put(
                    "b",
                    out -> {
                      out.write(ByteBuffer.allocate(2));
                      throw new IOException("no more\ndata");
                    })),
        failure(
            "1 put, the others failed",
            w -> {
              assertThatThrownBy(() ->
                      w.put(
                          "b",
                          out -> {
                            throw new UncheckedIOException(new IOException());
                          }))
                  .isInstanceOf(UncheckedIOException.class);
              w.finish();
            }));
  }

  private static Arguments failure(String message, Failure failure) {
    return Arguments.of(message, failure);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("failures")
  void failureLeavesTheOldFileAndNothingElse(String message, Failure failure) throws IOException {
    Files.write(target(), TestFiles.good());
    try (var writer = SafetensorsWriter.create(target(), List.of(A, B))) {
      writer.put("a", bytes(1, 2, 3, 4));
      Refusal.of(() -> failure.in(writer)).names(target()).says(message);
      assertThatThrownBy(writer::finish).isInstanceOf(SafetensorsException.class);
    }
    assertThat(Files.readAllBytes(target())).isEqualTo(TestFiles.good());
    assertOnlyTheTargetIsThere();
  }

  @Test
  void aClosedWriterTakesNothing() throws IOException {
    var writer = SafetensorsWriter.create(target(), List.of(A));
    writer.close();
    writer.close();
    assertThatThrownBy(() -> writer.put("a", bytes(1, 2, 3, 4)))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(writer::finish).isInstanceOf(IllegalStateException.class);
    assertThat(target()).doesNotExist();
  }

  @Test
  void plansThatNoReaderWouldTakeAreRefused() throws IOException {
    Refusal.of(() -> new TensorSpec("", DType.U8)).says("tensor name: got ''");
    Refusal.of(() -> new TensorSpec("__metadata__", DType.U8)).says("not reserved");
    Refusal.of(() -> new TensorSpec("a\nb", DType.U8)).says("'a\\u000ab'");
    Refusal.of(() -> new TensorSpec("a", DType.U8, -1)).says("[-1], expected dimensions of 0");
    Refusal.of(() -> new TensorSpec("a", DType.F4, 3)).says("12 bits, expected whole bytes");
    Refusal.of(() -> new TensorSpec("a", DType.U8, 1L << 40, 1L << 40)).says("below 2^63");
    Refusal.of(() -> new TensorSpec("a", DType.U8, new long[65])).says("65 dimensions");
    Refusal.of(() -> SafetensorsWriter.create(target(), List.of(A, A)))
        .names(target())
        .says("tensor 'a': got planned twice");
    List<TensorSpec> huge = List.of(new TensorSpec("a", DType.U8, 1L << 59));
    Refusal.of(() -> SafetensorsWriter.create(target(), huge)).names(target()).says("free space");
    Refusal.of(() -> SafetensorsWriter.create(folder, List.of(A))).names(folder).says("a folder");
    Path nowhere = folder.resolve("no/such");
    Refusal.of(() -> SafetensorsWriter.create(nowhere, List.of(A))).names(nowhere).says("no such");
    assertThat(folder).isEmptyDirectory();
  }

  /** A process that dies in the middle of a write leaves the old file whole. */
  @Test
  void aKilledWriterLeavesTheOldFile() throws Exception {
    Files.write(target(), TestFiles.good());
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                String.join(
                    System.getProperty("path.separator"),
                    home(SafetensorsWriter.class),
                    home(WriterTest.class),
                    home(JsonFactory.class)),
                Dies.class.getName(),
                target().toString())
            .redirectErrorStream(true)
            .start();
    String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(child.waitFor()).as(output).isEqualTo(9);
    assertThat(Files.readAllBytes(target())).isEqualTo(TestFiles.good());
    try (var files = Files.list(folder)) {
      assertThat(files.map(f -> f.getFileName().toString()))
          .contains("m.safetensors")
          .anyMatch(name -> name.matches("m\\.safetensors\\.tmp-" + child.pid() + "-[0-9a-f]{8}"));
    }
  }

  private static String home(Class<?> of) throws Exception {
    return Path.of(of.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
  }

  /** Halts while a tensor is half written. */
  static final class Dies {
    public static void main(String[] args) {
      var writer = SafetensorsWriter.create(Path.of(args[0]), List.of(A, B));
      writer.put(
          "a",
          out -> {
            out.write(ByteBuffer.allocate(2));
            Runtime.getRuntime().halt(9);
          });
    }
  }

  private void assertOnlyTheTargetIsThere() throws IOException {
    try (var files = Files.list(folder)) {
      assertThat(files).containsExactly(target());
    }
  }
}
