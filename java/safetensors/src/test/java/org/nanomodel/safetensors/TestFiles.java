package org.nanomodel.safetensors;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** Makes safetensors files byte by byte, good and bad, without the library's help. */
final class TestFiles {
  private TestFiles() {}

  /** A whole file: length, header as given, data. */
  static byte[] file(byte[] header, int dataBytes) {
    return file(header.length, header, dataBytes);
  }

  static byte[] file(String header, int dataBytes) {
    return file(header.getBytes(StandardCharsets.UTF_8), dataBytes);
  }

  /** A file whose length field says what it likes; the data counts 0, 1, 2... */
  static byte[] file(long headerLength, byte[] header, int dataBytes) {
    ByteBuffer out =
        ByteBuffer.allocate(8 + header.length + dataBytes).order(ByteOrder.LITTLE_ENDIAN);
    out.putLong(headerLength).put(header);
    for (int i = 0; i < dataBytes; i++) {
      out.put((byte) i);
    }
    return out.array();
  }

  /** One tensor's entry; the name is JSON text without its quotes. */
  static String entry(String name, String dtype, String shape, String offsets) {
    return "\""
        + name
        + "\":{\"dtype\":\""
        + dtype
        + "\",\"shape\":"
        + shape
        + ",\"data_offsets\":"
        + offsets
        + "}";
  }

  static String header(String... entries) {
    return "{" + String.join(",", entries) + "}";
  }

  static Path write(Path folder, String name, byte[] content) throws IOException {
    return Files.write(folder.resolve(name), content);
  }

  /** Two tensors and metadata, as any writer would make it. */
  static byte[] good() {
    return file(
        header(
            "\"__metadata__\":{\"format\":\"pt\"}",
            entry("a", "F32", "[2,3]", "[0,24]"),
            entry("b", "U8", "[4]", "[24,28]")),
        28);
  }

  /** Extends with zeros that take no disk. */
  static void extend(Path file, long bytes) throws IOException {
    try (var access = new RandomAccessFile(file.toFile(), "rw")) {
      access.setLength(bytes);
    }
  }
}
