package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.nanomodel.safetensors.TestFiles.entry;
import static org.nanomodel.safetensors.TestFiles.extend;
import static org.nanomodel.safetensors.TestFiles.file;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The largest headers: time and memory stay bounded. */
class LargeHeaderTest {
  @TempDir Path folder;

  /** The largest headers there can be: still refused in time, without memory in proportion. */
  @Test
  void hundredMegabytesOfOneStringAreRefused() throws IOException {
    Path bad = folder.resolve("bad.safetensors");
    for (String start :
        new String[] {"{\"", "{\"__metadata__\":{\"k\":\"", "{\"__metadata__\":{\""}) {
      writeLargeHeader(bad, start, "x".repeat(1000));
      Refusal.of(() -> SafetensorsFile.open(bad)).names(bad).says("header: got ");
    }
  }

  @Test
  void hundredMegabytesOfUnknownFieldsAreSkippedInTime() throws IOException {
    Path bad = folder.resolve("bad.safetensors");
    writeLargeHeader(bad, "{\"a\":{\"x\":[", "[],{},\"abc\",0,".repeat(100));
    Refusal.of(() -> SafetensorsFile.open(bad)).within(5).names(bad).says("header: got ");
  }

  /** Ten million tensors need a header above the limit, which is refused before it is read. */
  @Test
  void tenMillionTensorsAreRefusedAtOnce() throws IOException {
    Path bad = folder.resolve("bad.safetensors");
    Files.write(
        bad, file(10_000_000L * entry("1234567", "U8", "[]", "[0,1]").length(), new byte[0], 0));
    extend(bad, 1L << 33);
    Refusal.of(() -> SafetensorsFile.open(bad)).names(bad).says("header length");
  }

  /** A million tensors are allowed; with one more, or with the last one wrong, they are not. */
  @Test
  void aMillionTensorsTakeSeconds() throws IOException {
    Path path = folder.resolve("many.safetensors");
    writeManyTensors(path, 1_000_001, 0);
    Refusal.of(() -> SafetensorsFile.open(path)).within(20).anyMemory().names(path).says("1000000");
    writeManyTensors(path, 1_000_000, 1);
    Refusal.of(() -> SafetensorsFile.open(path))
        .within(20)
        .anyMemory()
        .names(path)
        .says("'999999'");
    writeManyTensors(path, 200_000, 0);
    try (var open = SafetensorsFile.open(path)) {
      assertThat(open.tensors()).hasSize(200_000);
      assertThat(open.tensor("123456").begin()).isEqualTo(123456);
    }
  }

  /** A header of 100,000,000 bytes: a start, then one text again and again. */
  private static void writeLargeHeader(Path path, String start, String text) throws IOException {
    int length = 100_000_000;
    try (OutputStream out = Files.newOutputStream(path)) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(0, length).array());
      out.write(start.getBytes(StandardCharsets.UTF_8));
      byte[] piece = text.repeat(1000).getBytes(StandardCharsets.UTF_8);
      for (int left = length - start.length(); left > 0; left -= piece.length) {
        out.write(piece, 0, Math.min(left, piece.length));
      }
    }
  }

  /** Tensors of one byte each, in an order that is not that of their offsets. */
  private static void writeManyTensors(Path path, int count, int lastShift) throws IOException {
    StringBuilder text = new StringBuilder("{");
    for (int i = 0; i < count; i++) {
      int at = (int) (i * 7919L % count); // prime, so every number once
      int begin = at + (at == count - 1 ? lastShift : 0);
      text.append(at == 0 && i == 0 ? "" : ",")
          .append(entry("" + at, "U8", "[]", "[" + begin + "," + (begin + 1) + "]"));
    }
    byte[] header = text.append('}').toString().getBytes(StandardCharsets.UTF_8);
    Files.write(path, file(header.length, header, count + lastShift));
  }
}
