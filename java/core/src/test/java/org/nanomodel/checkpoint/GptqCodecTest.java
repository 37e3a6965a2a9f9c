package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.Format;
import org.nanomodel.NativeException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Codes to GPTQ tensors and back; the worked numbers of FORMATS 1.2 were produced by GPTQModel's
 * packer.
 */
class GptqCodecTest {
  private static Engine engine;

  @TempDir Path temp;

  @BeforeAll
  static void open() {
    engine = Engine.open();
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  @ParameterizedTest
  @CsvSource({
    "2, '3 0 1 2', 32, '93939393 93939393'",
    "3, '3 0 5 2 7 4 1 6', 32, '43c67543 7543c675 c67543c6'",
    "4, '3 8 13 2 7 12 1 6 11 0 5 10 15 4 9 14', 16, '61c72d83 e94fa50b'",
    "8, '11 48 85 122 159 196 233 14', 8, '7a55300b 0ee9c49f'",
  })
  void aColumnIsTheBitStreamOfItsCodes(int bits, String codes, int k, String words) {
    int[] cycle = ints(codes);
    try (var arena = Arena.ofConfined()) {
      var w = weight(arena, bits, 1, k, k);
      for (int i = 0; i < k; i++) {
        w.codes().set(ValueLayout.JAVA_BYTE, i, (byte) cycle[i % cycle.length]);
      }
      var packed = GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ_V2);
      assertThat(words(packed.qweight())).isEqualTo(words);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, '2', 16, 'aaaaaaaa', '55555555'",
    "3, '2 5 1 4 7 3 6', 32, '0d59f86a 67e1ab3f 86acfc35', 'c4356621 d59886ac 621ab310'",
    "3, '4', 32, '24924924 49249249 92492492', 'db6db6db b6db6db6 6db6db6d'",
    "4, '2 5 8 11 14', 32, '852eb852 2eb852eb b852eb85 52eb852e', '741da741 1da741da a741da74"
        + " 41da741d'",
    "4, '8', 8, '88888888', '77777777'",
    "8, '2 31 60 89', 4, '593c1f02', '583b1e01'",
    "8, '128', 4, '80808080', '7f7f7f7f'",
  })
  void aRowOfZerosIsExactInV2AndOneLessInV1(int bits, String zeros, int n, String v2, String v1) {
    int[] cycle = ints(zeros);
    try (var arena = Arena.ofConfined()) {
      var w = weight(arena, bits, n, 32, 32);
      for (int i = 0; i < n; i++) {
        w.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) cycle[i % cycle.length]);
      }
      assertThat(words(GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ_V2).qzeros()))
          .isEqualTo(v2);
      assertThat(words(GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ).qzeros()))
          .isEqualTo(v1);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2, 64, 128, 32",
    "3, 64, 128, 32",
    "4, 64, 128, 32",
    "8, 64, 128, 32",
    "5, 64, 128, 128",
    "6, 32, 64, 16",
    "7, 32, 64, 64",
    "2, 17, 50, 16",
    "3, 33, 100, 64",
    "4, 7, 45, 32",
    "8, 5, 13, 13",
    "3, 1, 1, 1",
    "4, 40, 96, 64"
  })
  void whatIsWrittenIsReadBack(int bits, int n, int k, int group) throws IOException {
    for (Format format : List.of(Format.GPTQ, Format.GPTQ_V2)) {
      for (boolean order : new boolean[] {false, true}) {
        Path directory = temp.resolve(format + "-" + order);
        try (var arena = Arena.ofConfined()) {
          var w = random(arena, bits, n, k, group, format, order);
          write(directory, w, format, group);
          try (var model = ModelDirectory.open(directory, engine)) {
            assertSame(w, (QuantizedWeight) model.linear(arena, "m"));
            assertThat(model.columns("m")).isEqualTo(k);
          }
        }
      }
    }
  }

  @Test
  void aZeroOfZeroIsNotWrittenAsV1() {
    try (var arena = Arena.ofConfined()) {
      var w = weight(arena, 4, 8, 32, 32);
      w.zeros().set(ValueLayout.JAVA_BYTE, 3, (byte) 0);
      assertThatThrownBy(() -> GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ))
          .isInstanceOf(NativeException.class);
      assertThat(words(GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ_V2).qzeros()))
          .isEqualTo("88880888");
    }
  }

  @Test
  void aV1ZeroOfAllOnesIsZeroAndLeavesItsNeighboursAlone() throws IOException {
    // true zeros 2 0 8 11 8 8 8 8, one less in each lane: 1 15 7 10 7 7 7 7
    assertThat(zerosReadFrom(0x7777a7f1, "{\"bits\":4,\"group_size\":32,\"sym\":false}"))
        .containsExactly(2, 0, 8, 11, 8, 8, 8, 8);
  }

  @Test
  void zerosThatGptqModelConvertedByWholeWordsAreReadAsItReadsThem() throws IOException {
    // FORMATS 1.3 hazard A: v2 zeros 2 0 8 11 2 14 5 8 = 0x852eb802 became 0x741da6f1
    String config =
        "{\"bits\":4,\"group_size\":32,\"sym\":false,\"meta\":{\"quantizer\":[\"gptqmodel:5.2.0\"]}}";
    assertThat(zerosReadFrom(0x741da6f1, config)).containsExactly(2, 0, 8, 11, 14, 2, 5, 8);
    assertThat(zerosReadFrom(0x741da6f1, config.replace("gptqmodel", "other")))
        .containsExactly(2, 0, 7, 11, 14, 2, 5, 8);
  }

  @Test
  void threeBitZerosOfGptqModelBefore7AreRecognizedByTheirWords() throws IOException {
    int[] old = {0x00000000, 0xb6db6db7, 0x49249249};
    int[] right = {0xdb6db6db, 0xb6db6db6, 0x6db6db6d};
    String config = "{\"bits\":3,\"group_size\":32}";
    String version5 =
        "{\"bits\":3,\"group_size\":32,\"meta\":{\"quantizer\":[\"gptqmodel:5.6.0\"]}}";
    for (String c : List.of(config, version5)) {
      assertThat(zerosReadFrom(3, old, c)).containsOnly(4).hasSize(32);
      assertThat(zerosReadFrom(3, right, c)).containsOnly(4).hasSize(32);
    }
  }

  @Test
  void threeBitZerosOfGptqModelBefore7AreRecognizedByItsVersion() throws IOException {
    // v2 words of zeros 2 5 1 4 7 3 6 cyclic (FORMATS 1.2) less the constants in that version's
    // order
    int[] exact = {0x0d59f86a, 0x67e1ab3f, 0x86acfc35};
    int[] constants = {0x24924924, 0x92492492, 0x49249249};
    int[] old = IntStream.range(0, 3).map(i -> exact[i] - constants[i]).toArray();
    int[] right = {0xc4356621, 0xd59886ac, 0x621ab310};
    Integer[] zeros =
        IntStream.range(0, 32).mapToObj(i -> ints("2 5 1 4 7 3 6")[i % 7]).toArray(Integer[]::new);
    String of = "{\"bits\":3,\"group_size\":32,\"sym\":false,\"meta\":{\"quantizer\":%s}}";
    for (String version : List.of("[\"gptqmodel:5.6.12\"]", "\"gptqmodel:4.0.0-dev\"")) {
      assertThat(zerosReadFrom(3, old, of.formatted(version))).containsExactly(zeros);
    }
    for (String version : List.of("[\"gptqmodel:7.0.0\"]", "[\"nanomodel:1.0.0\"]", "[]")) {
      assertThat(zerosReadFrom(3, right, of.formatted(version))).containsExactly(zeros);
    }
    // exact zeros are exact whoever wrote them
    String v2 =
        of.formatted("[\"gptqmodel:5.6.12\"]").replace("{\"bits", "{\"format\":\"gptq_v2\",\"bits");
    assertThat(zerosReadFrom(3, exact, v2)).containsExactly(zeros);
  }

  @Test
  void sortedGroupsOfStaticGroupsAreNoOrder() throws IOException {
    try (var arena = Arena.ofConfined()) {
      var w = random(arena, 4, 16, 128, 32, Format.GPTQ_V2, false);
      var packed = GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ_V2);
      for (String config :
          List.of(
              "{\"bits\":4,\"group_size\":32,\"sym\":false,\"format\":\"gptq_v2\","
                  + "\"desc_act\":true,\"static_groups\":true}",
              "{\"bits\":4,\"group_size\":32,\"sym\":false,\"format\":\"gptq_v2\","
                  + "\"desc_act\":true,\"meta\":{\"static_groups\":true}}")) {
        Path directory = Files.createTempDirectory(temp, "static");
        write(directory, packed, GptqParts.specs("m", 16, 128, 4, 32), config);
        try (var model = ModelDirectory.open(directory, engine)) {
          assertSame(w, (QuantizedWeight) model.linear(arena, "m"));
        }
      }
    }
  }

  private List<Integer> zerosReadFrom(int word, String config) throws IOException {
    return zerosReadFrom(4, new int[] {word}, config);
  }

  private List<Integer> zerosReadFrom(int bits, int[] words, String config) throws IOException {
    Path directory = Files.createTempDirectory(temp, "zeros");
    int n = 32 * words.length / bits;
    try (var arena = Arena.ofConfined()) {
      var packed =
          GptqParts.pack(arena, engine.ops(), "m", weight(arena, bits, n, 32, 32), Format.GPTQ_V2);
      for (int i = 0; i < words.length; i++) {
        packed.qzeros().segment().set(ValueLayout.JAVA_INT_UNALIGNED, 4L * i, words[i]);
      }
      write(directory, packed, GptqParts.specs("m", n, 32, bits, 32), config);
      try (var model = ModelDirectory.open(directory, engine)) {
        var w = (QuantizedWeight) model.linear(arena, "m");
        return IntStream.range(0, n)
            .mapToObj(i -> (int) w.zeros().get(ValueLayout.JAVA_BYTE, i))
            .toList();
      }
    }
  }

  @Test
  void missingGIdxAndAllZeroGIdxMeanNaturalOrder() throws IOException {
    try (var arena = Arena.ofConfined()) {
      var w = random(arena, 4, 16, 128, 32, Format.GPTQ_V2, false);
      write(temp.resolve("full"), w, Format.GPTQ_V2, 32);
      var packed = GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ_V2);
      String config = config(4, 32, Format.GPTQ_V2);
      write(
          temp.resolve("none"), packed, GptqParts.specs("m", 16, 128, 4, 32).subList(0, 3), config);
      packed.gIdx().segment().fill((byte) 0);
      write(temp.resolve("zeros"), packed, GptqParts.specs("m", 16, 128, 4, 32), config);
      for (String name : List.of("full", "none", "zeros")) {
        try (var model = ModelDirectory.open(temp.resolve(name), engine)) {
          assertSame(w, (QuantizedWeight) model.linear(arena, "m"));
        }
      }
    }
  }

  private static int[] ints(String text) {
    return Arrays.stream(text.split(" ")).mapToInt(Integer::parseInt).toArray();
  }

  private static String words(Tensor t) {
    var words = new ArrayList<String>();
    for (int word : t.toInts()) {
      words.add(String.format("%08x", word));
    }
    return String.join(" ", words);
  }

  /** Symmetric, all codes and scales 0. */
  static QuantizedWeight weight(Arena arena, int bits, int n, int k, int group) {
    var w = QuantizedWeight.allocate(arena, bits, n, k, group, null);
    w.zeros().fill((byte) (1 << bits - 1));
    return w;
  }

  static QuantizedWeight random(
      Arena arena, int bits, int n, int k, int group, Format format, boolean order) {
    var random = new Random(bits * 1000L + n);
    MemorySegment gIdx = order && k > group ? shuffledGroups(arena, random, k, group) : null;
    var w = QuantizedWeight.allocate(arena, bits, n, k, group, gIdx);
    for (long i = 0; i < w.codes().byteSize(); i++) {
      w.codes().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(1 << bits));
    }
    int least = format == Format.GPTQ ? 1 : 0;
    for (long i = 0; i < w.groups() * n; i++) {
      w.zeros().set(ValueLayout.JAVA_BYTE, i, (byte) (least + random.nextInt((1 << bits) - least)));
      w.scales()
          .set(ValueLayout.JAVA_FLOAT, 4 * i, random.nextInt(1, 1024) / 4096f); // exact in float16
    }
    return w;
  }

  private static MemorySegment shuffledGroups(Arena arena, Random random, int k, int group) {
    var groups = new ArrayList<>(IntStream.range(0, k).mapToObj(i -> i / group).toList());
    java.util.Collections.shuffle(groups, random);
    return arena.allocateFrom(
        ValueLayout.JAVA_INT, groups.stream().mapToInt(Integer::intValue).toArray());
  }

  private static String config(int bits, int group, Format format) {
    return "{\"bits\":%d,\"group_size\":%d,\"sym\":false,\"checkpoint_format\":\"%s\"}"
        .formatted(bits, group, format);
  }

  private void write(Path directory, QuantizedWeight w, Format format, int group)
      throws IOException {
    try (var arena = Arena.ofConfined()) {
      var packed = GptqParts.pack(arena, engine.ops(), "m", w, format);
      write(
          directory,
          packed,
          GptqParts.specs("m", w.n(), w.k(), w.bits(), group),
          config(w.bits(), group, format));
    }
  }

  /** A directory with one quantized module m and what {@code specs} names of it. */
  static void write(Path directory, GptqParts packed, List<TensorSpec> specs, String config)
      throws IOException {
    Files.createDirectories(directory);
    Files.writeString(directory.resolve("config.json"), "{}");
    Files.writeString(directory.resolve("quantize_config.json"), config);
    var parts = List.of(packed.qweight(), packed.qzeros(), packed.scales(), packed.gIdx());
    try (var writer = SafetensorsWriter.create(directory.resolve("model.safetensors"), specs)) {
      for (int i = 0; i < specs.size(); i++) {
        writer.put(specs.get(i).name(), parts.get(i).segment());
      }
      writer.finish();
    }
  }

  static void assertSame(QuantizedWeight expected, QuantizedWeight got) {
    assertThat(got.bits()).isEqualTo(expected.bits());
    assertThat(got.groupSize()).isEqualTo(expected.groupSize());
    assertThat(got.codes().mismatch(expected.codes())).isEqualTo(-1);
    assertThat(got.zeros().mismatch(expected.zeros())).isEqualTo(-1);
    assertThat(got.scales().mismatch(expected.scales())).isEqualTo(-1);
    if (expected.gIdx() == null) {
      assertThat(got.gIdx()).isNull();
    } else {
      assertThat(Tensor.of(DataType.I32, got.gIdx(), got.k()).toInts())
          .isEqualTo(Tensor.of(DataType.I32, expected.gIdx(), got.k()).toInts());
    }
  }
}
