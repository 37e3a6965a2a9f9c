package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.show;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonFactoryBuilder;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.util.JsonRecyclerPools;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.Locale;

/**
 * Untrusted JSON text inside a file, as a stream for Jackson's parser that reads a few kilobytes at
 * a time and stops at the first byte that cannot be right.
 *
 * <p>It checks what Jackson does not: that the text is UTF-8 throughout (no overlong forms, no
 * surrogates), that no raw control characters occur (a NUL would make Jackson guess UTF-16), and
 * that no number is longer than any 64-bit number (Jackson would buffer all its digits first).
 */
final class JsonText extends InputStream {
  /** Twice the length of 2^64. */
  private static final int MAX_NUMBER_CHARS = 40;

  private static final int MAX_DEPTH = 64;

  private final FileChannel channel;
  private final Path file;
  private final String what;
  private final long start;
  private final long length;
  private long done;

  // UTF-8: continuation bytes still due, and the range of the next one
  private int due;
  private int low;
  private int high;

  private boolean inString;
  private boolean escaped;
  private int numberChars;

  /** The {@code length} bytes at {@code start}; {@code what} names the text in messages. */
  JsonText(FileChannel channel, Path file, String what, long start, long length) {
    this.channel = channel;
    this.file = file;
    this.what = what;
    this.start = start;
    this.length = length;
  }

  /**
   * A parser of this text. Nothing is shared between parsers, so that one file's names do not stay
   * behind.
   */
  JsonParser parser() throws IOException {
    JsonFactory factory =
        new JsonFactoryBuilder()
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .recyclerPool(JsonRecyclerPools.nonRecyclingPool())
            .streamReadConstraints(
                StreamReadConstraints.builder()
                    .maxNestingDepth(MAX_DEPTH)
                    .maxNumberLength(MAX_NUMBER_CHARS)
                    .maxNameLength(4 * Rules.MAX_NAME_CHARS)
                    .maxStringLength(Rules.MAX_METADATA_CHARS)
                    .build())
            .build();
    return factory.createParser(this);
  }

  /** Jackson's complaint as ours. */
  SafetensorsException bad(JsonProcessingException e) {
    String where = e.getLocation() == null ? "" : " at byte " + e.getLocation().getByteOffset();
    return new SafetensorsException(
        file, what, show(e.getOriginalMessage()) + where, "valid JSON", e);
  }

  /** Refuses whatever follows the text's one value. */
  void expectEnd(JsonParser parser) throws IOException {
    JsonToken token = parser.nextToken();
    if (token != null) {
      throw new SafetensorsException(
          file, what, token + " after the closing brace", "one JSON object");
    }
  }

  @Override
  public int read() throws IOException {
    byte[] one = new byte[1];
    return read(one, 0, 1) < 0 ? -1 : one[0] & 0xff;
  }

  @Override
  public int read(byte[] into, int offset, int size) throws IOException {
    if (done == length) {
      if (due > 0) {
        throw bad("a character cut short by the end", "UTF-8");
      }
      return -1;
    }
    int wanted = (int) Math.min(size, length - done);
    int n = channel.read(ByteBuffer.wrap(into, offset, wanted), start + done);
    if (n < 0) {
      throw bad("the end of the file", "a file that does not shrink while it is read");
    }
    for (int i = 0; i < n; i++) {
      check(into[offset + i] & 0xff);
      done++;
    }
    return n;
  }

  private void check(int c) {
    if (due > 0) {
      if (c < low || c > high) {
        throw bad(c, "UTF-8");
      }
      due--;
      low = 0x80;
      high = 0xbf;
    } else if (c < 0x80) {
      ascii(c);
    } else {
      lead(c);
    }
  }

  /** The first byte of a longer character (Unicode 16, table 3-7). */
  private void lead(int c) {
    if (done == 0 && c == 0xef) {
      throw bad(c, "JSON text without a byte order mark");
    }
    if (c < 0xc2 || c > 0xf4) {
      throw bad(c, "UTF-8");
    }
    due = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
    low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
  }

  private void ascii(int c) {
    if (c < ' ' && c != '\n' && c != '\r' && c != '\t') {
      throw bad(c, "JSON text without raw control characters");
    }
    if (inString) {
      if (escaped) {
        escaped = false;
      } else if (c == '\\') {
        escaped = true;
      } else if (c == '"') {
        inString = false;
      }
    } else if (c == '"') {
      inString = true;
      numberChars = 0;
    } else if (c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E') {
      if (++numberChars > MAX_NUMBER_CHARS) {
        throw bad(
            "a number of more than " + MAX_NUMBER_CHARS + " characters at byte " + done,
            "an integer below 2^63");
      }
    } else {
      numberChars = 0;
    }
  }

  private SafetensorsException bad(int c, String expected) {
    return bad(String.format(Locale.ROOT, "byte 0x%02x at byte %d", c, done), expected);
  }

  private SafetensorsException bad(String got, String expected) {
    return new SafetensorsException(file, what, got, expected);
  }
}
