package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.nanomodel.safetensors.TestFiles.entry;
import static org.nanomodel.safetensors.TestFiles.extend;
import static org.nanomodel.safetensors.TestFiles.file;
import static org.nanomodel.safetensors.TestFiles.good;
import static org.nanomodel.safetensors.TestFiles.header;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every malformed file gets one typed error with a one-line message, in bounded time and memory,
 * and a good file still opens afterwards.
 */
class BadFilesTest {
  private static final String BIG = "9223372036854775808"; // 2^63

  @TempDir Path folder;

  /** A bad file and a part of the message it must get. */
  record Case(String name, Maker maker, String message) {
    static Case of(String name, byte[] content, String message) {
      return new Case(name, path -> Files.write(path, content), message);
    }

    /** A header that is wrong in itself, followed by 24 bytes of data. */
    static Case header(String name, String header, String message) {
      return of(name, file(header, 24), message);
    }

    @Override
    public String toString() {
      return name;
    }
  }

  interface Maker {
    void make(Path path) throws IOException;
  }

  static Stream<Case> cases() {
    return Stream.of(lengths(), texts(), names(), offsets(), shapes(), dtypes(), ends(), metadata())
        .flatMap(s -> s);
  }

  private static Stream<Case> lengths() {
    byte[] ok = good();
    byte[] json = Arrays.copyOfRange(ok, 8, ok.length - 28);
    return Stream.of(
        Case.of("S1 0 bytes", new byte[0], "file length: got 0 bytes, expected at least 8"),
        Case.of("S1 1 byte", new byte[1], "got 1 bytes"),
        Case.of("S1 7 bytes", new byte[7], "got 7 bytes"),
        Case.of("S1 8 bytes", new byte[8], "header length: got 0, expected at least 2"),
        Case.of("S2 N=0", file(0, json, 28), "header length: got 0, expected at least 2"),
        Case.of("S2 N=1", file(1, json, 28), "header length: got 1, expected at least 2"),
        Case.of("S2 N>file", file(json.length + 29, json, 28), "at most " + (json.length + 28)),
        Case.of("S2 N=100000001", file(100_000_001, json, 28), "at most 100000000"),
        Case.of("S2 N=2^63-1", file(Long.MAX_VALUE, json, 28), "got 9223372036854775807"),
        Case.of("S2 N=2^63", file(Long.MIN_VALUE, json, 28), "got 9223372036854775808"),
        Case.of("S2 N=2^64-1", file(-1, json, 28), "got 18446744073709551615"),
        Case.of("S2 N=2^64-8", file(-8, json, 28), "got 18446744073709551608"),
        Case.of("S2 N short by 1", file(json.length - 1, json, 28), "header: got "),
        Case.of("S2 N cuts JSON", file(5, json, 28), "header: got "));
  }

  private static Stream<Case> texts() {
    String a = entry("a", "U8", "[24]", "[0,24]");
    return Stream.of(
        Case.of(
            "S3 latin1",
            latin1(header(a.replace("\"a\"", "\"\u00e4\""))),
            "byte 0x22 at byte 3, expected UTF-8"),
        Case.of("S3 overlong", latin1(header(a.replace("\"a\"", "\"\u00c0\u00af\""))), "byte 0xc0"),
        Case.of(
            "S3 surrogate in UTF-8",
            latin1(header(a.replace("\"a\"", "\"\u00ed\u00a0\u0080\""))),
            "byte 0xa0"),
        Case.of(
            "S3 above U+10FFFF",
            latin1(header(a.replace("\"a\"", "\"\u00f4\u0090\u0080\u0080\""))),
            "byte 0x90"),
        Case.of(
            "S3 character cut short", latin1("{\u00e2\u0082"), "header: got a character cut short"),
        Case.of("S3 UTF-16", "{\0\"\0a\0".getBytes(StandardCharsets.ISO_8859_1), "header length"),
        Case.header("S3 NUL after brace", "{\0\"\0a\0\"\0:\0" + "1\0}\0", "byte 0x00 at byte 1"),
        Case.header(
            "S3 space first", " " + header(a), "first byte 0x20, expected an opening brace"),
        Case.header("S3 array", "[" + header(a) + "]", "first byte 0x5b"),
        Case.header("S3 BOM", "\ufeff" + header(a), "first byte 0xef"),
        Case.header("S3 truncated", header(a).substring(0, 30), "header: got Unexpected end"),
        Case.header("S3 only a brace", "{ ", "header: got Unexpected end"),
        Case.header("S3 trailing junk", header(a) + "x", "header: got Unrecognized token"),
        Case.header("S3 trailing object", header(a) + "{}", "after the closing brace"),
        Case.header("S3 trailing brace", header(a) + "}", "header: got Unexpected close marker"),
        Case.header("S3 trailing NUL", header(a) + "\0", "byte 0x00"),
        Case.header("S3 trailing comma", "{" + a + ",}", "header: got "),
        Case.header("S3 comment", "{/* */" + a + "}", "header: got "),
        Case.header("S3 single quotes", header(a).replace('"', '\''), "header: got "),
        Case.header("S3 depth 100000", "{\"a\":{\"x\":" + "[".repeat(100_000), "nesting depth"),
        Case.header(
            "S3 10 MB number",
            "{\"a\":{\"x\":" + "1".repeat(10_000_000) + "}}",
            "a number of more than 40"),
        Case.header("S3 tensor is number", "{\"a\":1}", "tensor 'a': got 1, expected an object"),
        Case.header("S3 tensor is null", "{\"a\":null}", "tensor 'a': got null"),
        Case.header(
            "S3 tensor is array", "{\"a\":[\"U8\",[24],[0,24]]}", "tensor 'a': got an array"),
        Case.header(
            "S3 no dtype",
            "{\"a\":{\"shape\":[24],\"data_offsets\":[0,24]}}",
            "tensor 'a': got no dtype"),
        Case.header(
            "S3 no shape", "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,24]}}", "got no shape"),
        Case.header(
            "S3 no offsets", "{\"a\":{\"dtype\":\"U8\",\"shape\":[24]}}", "got no data_offsets"),
        Case.header(
            "S3 dtype twice",
            header(a.replace("\"shape\"", "\"dtype\":\"U8\",\"shape\"")),
            "tensor 'a' dtype: got a second one"),
        Case.header(
            "S3 shape twice",
            header(a.replace("\"dtype\"", "\"shape\":[24],\"dtype\"")),
            "tensor 'a' shape: got a second one"),
        Case.header(
            "S3 offsets twice",
            header(a.replace("\"dtype\"", "\"data_offsets\":[0,24],\"dtype\"")),
            "tensor 'a' data_offsets: got a second one"));
  }

  private static Stream<Case> names() {
    String half1 = entry("a", "U8", "[0]", "[0,0]");
    String half2 = entry("a", "U8", "[24]", "[0,24]");
    return Stream.of(
        Case.header("S4 duplicate", header(half1, half2), "tensor 'a': got a second one"),
        Case.header(
            "S4 duplicate by escape",
            header(half1, half2.replace("\"a\"", "\"\\u0061\"")),
            "tensor 'a': got a second one"),
        named("S4 empty", "", "tensor name: got '', expected a name that is not empty"),
        named("S4 1 MB", "n".repeat(1 << 20), "header: got "),
        named(
            "S4 4097",
            "n".repeat(4097),
            "nnn... (4097 characters)', expected a name of at most 4096"),
        named(
            "S4 newline",
            "a\\nERROR forged",
            "'a\\u000aERROR forged', expected a name without control"),
        named("S4 NUL", "a\\u0000b", "'a\\u0000b'"),
        named("S4 ANSI", "\\u001b[2J", "'\\u001b[2J'"),
        named("S4 C1 control", "\\u009b2J", "'\\u009b2J'"),
        named("S4 raw newline", "a\nb", "header: got Illegal unquoted character"),
        named("S4 raw NUL", "a\0b", "byte 0x00"),
        named("S4 traversal", "x/../../etc", "expected a name without '..' path segments"),
        named("S4 backslash traversal", "..\\\\x", "expected a name without '..' path segments"),
        named("S4 lone surrogate", "\\ud800", "surrogate"));
  }

  private static Case named(String name, String tensor, String message) {
    return Case.header(name, header(entry(tensor, "U8", "[24]", "[0,24]")), message);
  }

  private static Stream<Case> offsets() {
    return Stream.of(
        u8("S5 negative", "[-1,23]", "tensor 'a' data_offsets: got -1"),
        u8("S5 minus zero", "[-0,24]", "got -0"),
        u8("S5 reversed", "[24,0]", "got [24, 0], expected [begin, end]"),
        u8("S5 past end", "[1,25]", "expected an end within the 24 bytes"),
        u8(
            "S5 not from 0",
            "[0,24]",
            "[4, 24], expected begin 0",
            entry("b", "U8", "[20]", "[4,24]")),
        u8("S5 past 2^63", "[0," + BIG + "]", "got " + BIG),
        u8("S5 past 2^64", "[0,18446744073709551640]", "got 18446744073709551640"),
        u8("S5 float", "[0,24.0]", "got 24.0"),
        u8("S5 exponent", "[0,2e1]", "got 2e1"),
        u8("S5 string", "[0,\"24\"]", "got '24'"),
        u8("S5 null", "[0,null]", "got null"),
        u8("S5 one", "[24]", "got [24]"),
        u8("S5 three", "[0,24,24]", "more than 2 numbers"),
        u8("S5 nested", "[0,[24]]", "got an array"),
        u8("S5 object", "{}", "got an object"),
        Case.header(
            "S5 overlap",
            header(entry("a", "U8", "[16]", "[0,16]"), entry("b", "U8", "[16]", "[8,24]")),
            "tensor 'b' data_offsets: got [8, 24], expected begin 16"),
        Case.header(
            "S5 same range",
            header(entry("a", "U8", "[24]", "[0,24]"), entry("b", "U8", "[24]", "[0,24]")),
            "expected begin 24"),
        Case.header(
            "S5 hole",
            header(entry("a", "U8", "[8]", "[0,8]"), entry("b", "U8", "[8]", "[16,24]")),
            "tensor 'b' data_offsets: got [16, 24], expected begin 8"),
        Case.header(
            "S5 empty tensor inside another",
            header(entry("a", "U8", "[24]", "[0,24]"), entry("b", "U8", "[0]", "[8,8]")),
            "tensor 'b' data_offsets: got [8, 8], expected begin 24"));
  }

  /** One U8 tensor with these offsets; others replace it. */
  private static Case u8(String name, String offsets, String message, String... others) {
    String[] entries = {entry("a", "U8", "[24]", offsets)};
    return Case.header(name, header(others.length > 0 ? others : entries), message);
  }

  private static Stream<Case> shapes() {
    String ones = "[" + "1,".repeat(64) + "24]";
    return Stream.of(
        shape("S6 product 2^64", "[4294967296,4294967296]", "expected a size in bits below 2^63"),
        shape(
            "S6 product 2^64+24", "[18,1024819115206086202]", "expected a size in bits below 2^63"),
        shape("S6 bits overflow", "[2305843009213693955]", "expected a size in bits below 2^63"),
        shape("S6 overflow then 0", "[4611686018427387904,4611686018427387904,0]", "below 2^63"),
        shape("S6 2^63", "[" + BIG + "]", "tensor 'a' shape: got " + BIG),
        shape("S6 negative", "[-24]", "tensor 'a' shape: got -24"),
        shape("S6 two negatives", "[-4,-6]", "tensor 'a' shape: got -4"),
        shape("S6 float", "[24.0]", "got 24.0, expected integers"),
        shape("S6 string", "[\"24\"]", "got '24', expected integers"),
        shape("S6 true", "[true]", "got true, expected integers"),
        shape("S6 nested", "[[24]]", "got an array, expected integers"),
        shape("S6 not array", "24", "got 24, expected an array"),
        shape("S6 null", "null", "got null, expected an array"),
        shape("S6 leading zero", "[024]", "header: got Invalid numeric value"),
        shape("S6 NaN", "[NaN]", "header: got Non-standard token"),
        shape("S6 rank 65", ones, "tensor 'a' shape: got more than 64"),
        shape("S6 rank 10 million", "[" + "1,".repeat(10_000_000) + "1]", "got more than 64"),
        shape("S6 scalar of 24 bytes", "[]", "24 bytes, expected 1 bytes for U8 []"),
        shape("S6 zero dim with data", "[0]", "24 bytes, expected 0 bytes for U8 [0]"));
  }

  private static Case shape(String name, String shape, String message) {
    return Case.header(name, header(entry("a", "U8", shape, "[0,24]")), message);
  }

  private static Stream<Case> dtypes() {
    return Stream.of(
        dtype("S7 unknown", "\"F31\"", "tensor 'a' dtype: got 'F31', expected one of [BOOL, F4,"),
        dtype("S7 lower case", "\"f32\"", "got 'f32'"),
        dtype("S7 empty", "\"\"", "got ''"),
        dtype("S7 newline", "\"F32\\n\"", "got 'F32\\u000a'"),
        dtype("S7 number", "32", "got 32"),
        dtype("S7 null", "null", "got null"),
        dtype("S7 right type, wrong size", "\"F64\"", "24 bytes, expected 192 bytes for F64 [24]"),
        dtype("S7 F4 of 24 bytes", "\"F4\"", "24 bytes, expected 12 bytes for F4 [24]"),
        Case.header(
            "S7 F4 not on a byte",
            header(entry("a", "F4", "[3]", "[0,24]")),
            "F4 [3], 12 bits, expected whole bytes"),
        Case.header(
            "S7 F6 not on a byte",
            header(entry("a", "F6_E2M3", "[2]", "[0,24]")),
            "F6_E2M3 [2], 12 bits, expected whole bytes"));
  }

  private static Case dtype(String name, String dtype, String message) {
    String entry = entry("a", "U8", "[24]", "[0,24]").replace("\"U8\"", dtype);
    return Case.header(name, header(entry), message);
  }

  private static Stream<Case> ends() {
    byte[] ok = good();
    return Stream.of(
        Case.of(
            "S8 one byte more",
            Arrays.copyOf(ok, ok.length + 1),
            "file length: got " + (ok.length + 1) + " bytes, expected " + ok.length),
        Case.of(
            "S8 one byte less",
            Arrays.copyOf(ok, ok.length - 1),
            "tensor 'b' data_offsets: got [24, 28], expected an end within the 27"),
        Case.of("S8 no data", Arrays.copyOf(ok, ok.length - 28), "within the 0 bytes"),
        Case.of(
            "S8 polyglot",
            concat(ok, "PK\3\4 a zip file".getBytes(StandardCharsets.UTF_8)),
            "file length"),
        Case.of("S8 data of no tensor", file("{}", 1), "file length: got 11 bytes, expected 10"),
        new Case(
            "S8 sparse 1 TB",
            path -> {
              Files.write(path, ok);
              extend(path, 1L << 40);
            },
            "file length: got 1099511627776 bytes"));
  }

  private static Stream<Case> metadata() {
    return Stream.of(
        meta("S9 number", "{\"k\":1}", "__metadata__ 'k': got 1, expected a string"),
        meta("S9 null value", "{\"k\":null}", "__metadata__ 'k': got null"),
        meta("S9 object value", "{\"k\":{}}", "__metadata__ 'k': got an object"),
        meta("S9 array", "[]", "__metadata__: got an array, expected an object"),
        meta("S9 string", "\"x\"", "__metadata__: got 'x', expected an object"),
        meta("S9 null", "null", "__metadata__: got null, expected an object"),
        meta("S9 duplicate key", "{\"k\":\"1\",\"k\":\"2\"}", "__metadata__ 'k': got a second one"),
        meta("S9 newline in key", "{\"k\\nk\":1}", "__metadata__ 'k\\u000ak': got 1"),
        meta("S9 half a surrogate", "{\"k\":\"\\ud800\"}", "half a surrogate pair"),
        meta("S9 twice", "{},\"__metadata__\":{}", "__metadata__: got a second one"),
        meta(
            "S9 like a tensor",
            "{\"dtype\":\"U8\",\"shape\":[24],\"data_offsets\":[0,24]}",
            "__metadata__ 'shape': got an array"));
  }

  private static Case meta(String name, String metadata, String message) {
    return Case.header(
        name, header("\"__metadata__\":" + metadata, entry("a", "U8", "[24]", "[0,24]")), message);
  }

  private static byte[] latin1(String header) {
    return file(header.getBytes(StandardCharsets.ISO_8859_1), 24);
  }

  private static byte[] concat(byte[] a, byte[] b) {
    byte[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void badFileIsRefused(Case c) throws IOException {
    Path bad = folder.resolve("bad.safetensors");
    c.maker().make(bad);
    for (var mode : SafetensorsFile.Mode.values()) {
      Refusal.of(() -> SafetensorsFile.open(bad, mode)).names(bad).says(c.message());
    }
    goodFileOpens();
  }

  @Test
  void folderAndMissingFileAreRefused() {
    Refusal.of(() -> SafetensorsFile.open(folder)).names(folder).says("file: got a folder");
    Path none = folder.resolve("no\nsuch");
    Refusal.of(() -> SafetensorsFile.open(none))
        .names(none)
        .says("no\\u000asuch: read: got no such file");
  }

  private void goodFileOpens() throws IOException {
    Path path = TestFiles.write(folder, "good.safetensors", good());
    try (var file = SafetensorsFile.open(path)) {
      assertThat(file.tensors()).extracting(TensorInfo::name).containsExactly("a", "b");
      assertThat(file.segment("b").get(ValueLayout.JAVA_BYTE, 3)).isEqualTo((byte) 27);
    }
  }
}
