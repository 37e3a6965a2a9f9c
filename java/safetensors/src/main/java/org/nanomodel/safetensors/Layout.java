package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * Where the tensors of a file to be written lie, and the bytes before them. Laid out as the
 * reference implementation does: by type, largest alignment first, then by name.
 *
 * @param header header length, header and padding, as they are written
 * @param tensors in the order of their data
 */
record Layout(byte[] header, List<TensorInfo> tensors) {
  /** Writes every character as UTF-8, as Python does, not those beyond U+FFFF as escapes. */
  static final JsonFactory FACTORY =
      JsonFactory.builder().enable(JsonWriteFeature.COMBINE_UNICODE_SURROGATES_IN_UTF8).build();

  static Layout of(Path file, Collection<TensorSpec> plan, Map<String, String> metadata) {
    if (plan.size() > Rules.MAX_TENSORS) {
      throw new SafetensorsException(
          file, "plan", plan.size() + " tensors", "at most " + Rules.MAX_TENSORS);
    }
    Set<String> names = HashSet.newHashSet(plan.size());
    for (TensorSpec spec : plan) {
      if (!names.add(spec.name())) {
        throw new SafetensorsException(file, quoteTensor(spec.name()), "planned twice", "once");
      }
    }
    List<TensorInfo> tensors = place(file, plan);
    return new Layout(header(file, tensors, metadata), tensors);
  }

  /** Bytes of the whole file. */
  long fileBytes() {
    return header.length + (tensors.isEmpty() ? 0 : tensors.getLast().end());
  }

  private static List<TensorInfo> place(Path file, Collection<TensorSpec> plan) {
    List<TensorSpec> sorted = new ArrayList<>(plan);
    sorted.sort(
        Comparator.comparing(TensorSpec::dtype)
            .reversed()
            .thenComparing(TensorSpec::name, Layout::compareCodePoints));
    List<TensorInfo> tensors = new ArrayList<>(sorted.size());
    long begin = 0;
    for (TensorSpec spec : sorted) {
      long end = begin + spec.byteSize();
      if (end < 0) {
        throw new SafetensorsException(file, "plan", "2^63 bytes or more", "less");
      }
      tensors.add(new TensorInfo(spec.name(), spec.dtype(), spec.shape(), begin, end));
      begin = end;
    }
    return Collections.unmodifiableList(tensors);
  }

  /** The order of UTF-8 bytes, which differs from that of UTF-16 beyond U+D7FF. */
  private static int compareCodePoints(String a, String b) {
    int at = 0;
    while (at < a.length() && at < b.length() && a.charAt(at) == b.charAt(at)) {
      at++;
    }
    if (at == a.length() || at == b.length()) {
      return Integer.compare(a.length(), b.length());
    }
    boolean surrogateA = Character.isSurrogate(a.charAt(at));
    boolean surrogateB = Character.isSurrogate(b.charAt(at));
    return surrogateA == surrogateB
        ? Character.compare(a.charAt(at), b.charAt(at))
        : Boolean.compare(surrogateA, surrogateB);
  }

  private static byte[] header(Path file, List<TensorInfo> tensors, Map<String, String> metadata) {
    byte[] json = json(tensors, metadata);
    int padded = (json.length + 7) / 8 * 8;
    if (padded > Rules.MAX_HEADER_BYTES) {
      throw new SafetensorsException(
          file, "header length", padded + " bytes", "at most " + Rules.MAX_HEADER_BYTES);
    }
    byte[] header = new byte[Rules.LENGTH_BYTES + padded];
    ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).putLong(padded).put(json);
    Arrays.fill(header, Rules.LENGTH_BYTES + json.length, header.length, (byte) ' ');
    return header;
  }

  private static byte[] json(List<TensorInfo> tensors, Map<String, String> metadata) {
    var out = new ByteArrayOutputStream();
    try (JsonGenerator json = FACTORY.createGenerator(out)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(Rules.METADATA_KEY);
        for (var entry : new TreeMap<>(metadata).entrySet()) {
          json.writeStringField(entry.getKey(), entry.getValue());
        }
        json.writeEndObject();
      }
      for (TensorInfo info : tensors) {
        json.writeObjectFieldStart(info.name());
        json.writeStringField("dtype", info.dtype().name());
        json.writeFieldName("shape");
        json.writeArray(info.shape(), 0, info.rank());
        json.writeFieldName("data_offsets");
        json.writeArray(new long[] {info.begin(), info.end()}, 0, 2);
        json.writeEndObject();
      }
      json.writeEndObject();
    } catch (IOException e) {
      throw new AssertionError("memory does not fail to be written", e);
    }
    return out.toByteArray();
  }
}
