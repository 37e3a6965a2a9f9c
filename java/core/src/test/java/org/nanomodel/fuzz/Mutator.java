package org.nanomodel.fuzz;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;

/** Seeded changes to the bytes of good files: the same seed makes the same bad files everywhere. */
final class Mutator {
  private static final List<byte[]> WORDS =
      List.of(
              "-1",
              "0",
              "2147483647",
              "2147483648",
              "9223372036854775807",
              "18446744073709551616",
              "1e999",
              "-0.0",
              "NaN",
              "null",
              "true",
              "\"\"",
              "[]",
              "{}",
              "[[[[[[[[",
              "{\"a\":{\"a\":",
              "\"",
              ",",
              ":",
              "\\u0000",
              "\\ud800",
              "\0",
              "\n",
              "\u001b[31m",
              "\u00e9",
              "\ud83d\ude00",
              "../../x",
              "/dev/zero")
          .stream()
          .map(word -> word.getBytes(StandardCharsets.UTF_8))
          .toList();

  private final SplittableRandom random;
  private final List<byte[]> corpus;

  Mutator(long seed, List<byte[]> corpus) {
    this.random = new SplittableRandom(seed);
    this.corpus = corpus;
  }

  /** A good file with one to six changes. */
  byte[] next() {
    byte[] bytes = any(corpus).clone();
    for (int i = random.nextInt(1, 7); i > 0; i--) {
      bytes = change(bytes);
    }
    return bytes;
  }

  private byte[] change(byte[] bytes) {
    int at = random.nextInt(bytes.length + 1);
    int end = Math.min(bytes.length, at + length());
    return switch (random.nextInt(7)) {
      case 0 -> flipped(bytes);
      case 1 -> splice(bytes, at, at, any(WORDS));
      case 2 -> splice(bytes, at, end, any(WORDS));
      case 3 -> splice(bytes, at, end, new byte[0]);
      case 4 -> splice(bytes, at, at, Arrays.copyOfRange(bytes, at, end));
      case 5 -> spliceOther(bytes, at, end);
      default -> number(bytes, at);
    };
  }

  /** Mostly short. */
  private int length() {
    return random.nextInt(1 << random.nextInt(1, 10));
  }

  private byte[] flipped(byte[] bytes) {
    byte[] out = bytes.clone();
    if (out.length > 0) {
      out[random.nextInt(out.length)] ^= (byte) (1 << random.nextInt(8));
    }
    return out;
  }

  /** The next run of digits becomes another number. */
  private byte[] number(byte[] bytes, int from) {
    int begin = from;
    while (begin < bytes.length && !digit(bytes[begin])) {
      begin++;
    }
    int end = begin;
    while (end < bytes.length && digit(bytes[end])) {
      end++;
    }
    return splice(bytes, begin, end, WORDS.get(random.nextInt(8)));
  }

  private static boolean digit(byte b) {
    return b >= '0' && b <= '9';
  }

  private byte[] spliceOther(byte[] bytes, int at, int end) {
    byte[] other = any(corpus);
    int from = random.nextInt(other.length + 1);
    int to = Math.min(other.length, from + length());
    return splice(bytes, at, end, Arrays.copyOfRange(other, from, to));
  }

  private byte[] any(List<byte[]> list) {
    return list.get(random.nextInt(list.size()));
  }

  private static byte[] splice(byte[] bytes, int at, int end, byte[] middle) {
    byte[] out = new byte[bytes.length - (end - at) + middle.length];
    System.arraycopy(bytes, 0, out, 0, at);
    System.arraycopy(middle, 0, out, at, middle.length);
    System.arraycopy(bytes, end, out, at + middle.length, bytes.length - end);
    return out;
  }
}
