package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quote;
import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;
import static org.nanomodel.safetensors.SafetensorsException.show;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A file's header, read and checked in the order of the reference implementation: lengths, UTF-8,
 * JSON, each tensor by itself, then that the tensors cover the data section exactly. Memory grows
 * with the number of tensors only; time is O(n log n).
 */
final class Header {
  private static final String FIELD = "header";
  private static final Comparator<TensorInfo> BY_OFFSET =
      Comparator.comparingLong(TensorInfo::begin).thenComparingLong(TensorInfo::end);

  private final Path file;
  private final long dataStart;
  private final long dataBytes;
  private final long[] dims = new long[Rules.MAX_RANK];
  private final List<TensorInfo> tensors = new ArrayList<>();
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private Map<String, TensorInfo> byName;
  private JsonParser parser;

  private Header(Path file, long dataStart, long dataBytes) {
    this.file = file;
    this.dataStart = dataStart;
    this.dataBytes = dataBytes;
  }

  /** Reads and checks the header of an open file of {@code fileBytes} bytes. */
  static Header read(FileChannel channel, Path file, long fileBytes) throws IOException {
    long length = readLength(channel, file, fileBytes);
    long dataStart = Rules.LENGTH_BYTES + length;
    var header = new Header(file, dataStart, fileBytes - dataStart);
    header.parse(new JsonText(channel, file, FIELD, Rules.LENGTH_BYTES, length));
    header.checkCoverage();
    header.index();
    return header;
  }

  /** Where the data section starts, in bytes from the start of the file. */
  long dataStart() {
    return dataStart;
  }

  long dataBytes() {
    return dataBytes;
  }

  /** In the order of their offsets; not to be changed. */
  List<TensorInfo> tensors() {
    return Collections.unmodifiableList(tensors);
  }

  Map<String, TensorInfo> byName() {
    return byName;
  }

  Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  private static long readLength(FileChannel channel, Path file, long fileBytes)
      throws IOException {
    if (fileBytes < Rules.LENGTH_BYTES) {
      throw new SafetensorsException(
          file, "file length", fileBytes + " bytes", "at least 8 bytes of header length");
    }
    ByteBuffer start = ByteBuffer.allocate(Rules.LENGTH_BYTES + 1).order(ByteOrder.LITTLE_ENDIAN);
    while (start.hasRemaining() && channel.read(start, start.position()) > 0) {}
    long length = start.getLong(0);
    if (length < 0 || length > Rules.MAX_HEADER_BYTES) {
      throw badLength(file, length, "at most " + Rules.MAX_HEADER_BYTES + " bytes");
    }
    if (length > fileBytes - Rules.LENGTH_BYTES) {
      throw badLength(
          file,
          length,
          "at most " + (fileBytes - Rules.LENGTH_BYTES) + ": the file has " + fileBytes + " bytes");
    }
    if (length < 2) {
      throw badLength(file, length, "at least 2 bytes of JSON");
    }
    int first = start.get(Rules.LENGTH_BYTES) & 0xff;
    if (first != '{') {
      throw new SafetensorsException(
          file, FIELD, String.format(Locale.ROOT, "first byte 0x%02x", first), "an opening brace");
    }
    return length;
  }

  private static SafetensorsException badLength(Path file, long length, String expected) {
    return new SafetensorsException(file, "header length", Long.toUnsignedString(length), expected);
  }

  private void parse(JsonText text) throws IOException {
    boolean metadataSeen = false;
    try (JsonParser open = text.parser()) {
      parser = open;
      parser.nextToken(); // the opening brace
      for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
        if (!name.equals(Rules.METADATA_KEY)) {
          parseTensor(name);
        } else if (metadataSeen) {
          throw bad(Rules.METADATA_KEY, "a second one", "unique keys");
        } else {
          metadataSeen = true;
          parseMetadata();
        }
      }
      text.expectEnd(parser);
    } catch (JsonProcessingException e) {
      throw text.bad(e);
    }
  }

  private void parseMetadata() throws IOException {
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw bad(Rules.METADATA_KEY, found(), "an object of strings");
    }
    long chars = 0;
    for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
      String field = Rules.METADATA_KEY + " " + quote(key);
      if (parser.nextToken() != JsonToken.VALUE_STRING) {
        throw bad(field, found(), "a string");
      }
      String value = parser.getText();
      chars += key.length() + value.length();
      if (chars > Rules.MAX_METADATA_CHARS) {
        throw bad(
            Rules.METADATA_KEY,
            "more than " + Rules.MAX_METADATA_CHARS + " characters",
            "at most that");
      }
      if (Rules.hasLoneSurrogate(key) || Rules.hasLoneSurrogate(value)) {
        throw bad(field, "half a surrogate pair", "whole Unicode characters");
      }
      if (metadata.put(key, value) != null) {
        throw bad(field, "a second one", "unique keys");
      }
    }
  }

  private void parseTensor(String name) throws IOException {
    Rules.checkName(file, name);
    if (tensors.size() == Rules.MAX_TENSORS) {
      throw bad(FIELD, "more than " + Rules.MAX_TENSORS + " tensors", "at most that");
    }
    if (parser.nextToken() != JsonToken.START_OBJECT) {
      throw bad(quoteTensor(name), found(), "an object with dtype, shape and data_offsets");
    }
    DType dtype = null;
    long[] shape = null;
    long[] offsets = null;
    for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
      boolean repeated = false;
      switch (key) {
        case "dtype" -> {
          repeated = dtype != null;
          dtype = parseDtype(name);
        }
        case "shape" -> {
          repeated = shape != null;
          shape = parseIntegers(name, " shape", Rules.MAX_RANK);
        }
        case "data_offsets" -> {
          repeated = offsets != null;
          offsets = parseIntegers(name, " data_offsets", 2);
        }
        default -> { // as the reference does: a later version's field
          parser.nextToken();
          parser.skipChildren();
        }
      }
      if (repeated) {
        throw bad(quoteTensor(name) + " " + key, "a second one", "unique keys");
      }
    }
    if (dtype == null || shape == null || offsets == null) {
      String missing = dtype == null ? "dtype" : shape == null ? "shape" : "data_offsets";
      throw bad(quoteTensor(name), "no " + missing, "dtype, shape and data_offsets");
    }
    addTensor(name, dtype, shape, offsets);
  }

  private void addTensor(String name, DType dtype, long[] shape, long[] offsets) {
    if (offsets.length != 2 || offsets[0] > offsets[1]) {
      throw bad(
          quoteTensor(name) + " data_offsets",
          Arrays.toString(offsets),
          "[begin, end], begin <= end");
    }
    if (offsets[1] > dataBytes) {
      throw bad(
          quoteTensor(name) + " data_offsets",
          Arrays.toString(offsets),
          "an end within the " + dataBytes + " bytes of data in the file");
    }
    long size = Rules.byteSize(file, name, dtype, shape);
    if (offsets[1] - offsets[0] != size) {
      throw bad(
          quoteTensor(name) + " data_offsets",
          Arrays.toString(offsets) + ", " + (offsets[1] - offsets[0]) + " bytes",
          size + " bytes for " + dtype + " " + Arrays.toString(shape));
    }
    tensors.add(new TensorInfo(name, dtype, shape, offsets[0], offsets[1]));
  }

  private DType parseDtype(String name) throws IOException {
    DType dtype = null;
    if (parser.nextToken() == JsonToken.VALUE_STRING) {
      dtype =
          DType.spelled(parser.getTextCharacters(), parser.getTextOffset(), parser.getTextLength());
    }
    if (dtype == null) {
      throw bad(quoteTensor(name) + " dtype", found(), "one of " + Arrays.toString(DType.values()));
    }
    return dtype;
  }

  private long[] parseIntegers(String name, String field, int max) throws IOException {
    if (parser.nextToken() != JsonToken.START_ARRAY) {
      throw bad(quoteTensor(name) + field, found(), "an array of integers");
    }
    int n = 0;
    while (parser.nextToken() != JsonToken.END_ARRAY) {
      if (n == max) {
        throw bad(quoteTensor(name) + field, "more than " + max + " numbers", "at most that");
      }
      if (parser.currentToken() != JsonToken.VALUE_NUMBER_INT
          || parser.getTextCharacters()[parser.getTextOffset()] == '-'
          || parser.getNumberType() == JsonParser.NumberType.BIG_INTEGER) {
        throw bad(quoteTensor(name) + field, found(), "integers from 0 to 2^63 - 1");
      }
      dims[n++] = parser.getLongValue();
    }
    return Arrays.copyOf(dims, n);
  }

  /** Sorted by offset the tensors must follow each other from 0 to the end: no hole, no overlap. */
  private void checkCoverage() {
    tensors.sort(BY_OFFSET);
    long end = 0;
    for (TensorInfo info : tensors) {
      if (info.begin() != end) {
        throw bad(
            quoteTensor(info.name()) + " data_offsets",
            "[" + info.begin() + ", " + info.end() + "]",
            "begin " + end + ", where the tensor before it ends (no hole, no overlap)");
      }
      end = info.end();
    }
    if (end != dataBytes) {
      throw bad(
          "file length",
          dataStart + dataBytes + " bytes",
          dataStart + end + " bytes, which header and tensors cover");
    }
  }

  private void index() {
    byName = HashMap.newHashMap(tensors.size());
    for (TensorInfo info : tensors) {
      if (byName.put(info.name(), info) != null) {
        throw bad(quoteTensor(info.name()), "a second one", "unique names");
      }
    }
  }

  private String found() throws IOException {
    JsonToken token = parser.currentToken();
    return switch (token) {
      case START_OBJECT -> "an object";
      case START_ARRAY -> "an array";
      case VALUE_STRING -> quote(parser.getText());
      default -> show(parser.getText());
    };
  }

  private SafetensorsException bad(String field, String got, String expected) {
    return new SafetensorsException(file, field, got, expected);
  }
}
