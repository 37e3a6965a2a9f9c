package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.TreeSet;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.Version;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.json.JsonFile;

/**
 * All that a job's result depends on. {@link #identity} tells it by content: sizes and hashes of
 * the model's files (large ones by their header and 256 samples), the config, the calibration ids
 * or activation scales, this program's version, and the kernel tier, since wider units may round
 * differently. {@link #modified} holds the files' times, which guard a job under way but are no
 * part of a finished checkpoint.
 */
record Fingerprint(ObjectNode identity, ObjectNode modified) {
  private static final int SAMPLES = 256;
  private static final int SAMPLE_BYTES = 4096;
  private static final long MAX_HEADER = 100L << 20;

  static Fingerprint of(
      ModelDirectory source,
      QuantizeConfig config,
      Optional<Calibration> calibration,
      Optional<ActivationScales> activations,
      String tier,
      long shardBytes) {
    var identity = JsonFile.object();
    identity.put("version", Version.NUMBER);
    identity.put("abi", Version.abi());
    identity.put("tier", tier);
    identity.put("max_shard_bytes", shardBytes);
    identity.set("config", config.toJson());
    calibration.ifPresent(c -> identity.set("calibration", c.identity()));
    activations.ifPresent(a -> identity.put("activation_scales", a.sha256()));
    var files = identity.putObject("model");
    var modified = JsonFile.object();
    for (Path file : filesOf(source)) {
      String name = file.getFileName().toString();
      try {
        files.putObject(name).put("bytes", Files.size(file)).put("sha256", sample(file));
        modified.put(name, Files.getLastModifiedTime(file).toString());
      } catch (IOException e) {
        throw DurableFiles.failed("read", file, e);
      }
    }
    return new Fingerprint(identity, modified);
  }

  private static List<Path> filesOf(ModelDirectory source) {
    var files = new TreeSet<Path>(source.weightFiles());
    files.add(source.path().resolve("config.json"));
    Path index = source.path().resolve("model.safetensors.index.json");
    if (source.weightFiles().size() > 1 && Files.exists(index)) {
      files.add(index);
    }
    files.addAll(CheckpointWriter.sideFiles(source.path()));
    return new ArrayList<>(files);
  }

  /**
   * SHA-256 of a small file, or of the header of a large one and of samples spread evenly over the
   * rest.
   */
  private static String sample(Path file) throws IOException {
    long size = Files.size(file);
    if (size <= (long) SAMPLES * SAMPLE_BYTES) {
      return DurableFiles.sha256(file);
    }
    try (var channel = FileChannel.open(file, StandardOpenOption.READ)) {
      var digest = DurableFiles.sha256();
      long data = Math.min(size, dataStart(channel));
      for (long at = 0; at < data; at += SAMPLE_BYTES) {
        digest.update(read(channel, at, (int) Math.min(SAMPLE_BYTES, data - at)));
      }
      for (int i = 0; i < SAMPLES; i++) {
        long at = Math.max(data, data + (size - data - SAMPLE_BYTES) * i / (SAMPLES - 1));
        digest.update(read(channel, at, (int) Math.min(SAMPLE_BYTES, size - at)));
      }
      return DurableFiles.hex(digest);
    }
  }

  /** Where the data of a safetensors file begins; other files have no header. */
  private static long dataStart(FileChannel channel) throws IOException {
    long header = read(channel, 0, Long.BYTES).order(ByteOrder.LITTLE_ENDIAN).getLong();
    return header > 0 && header < MAX_HEADER ? Long.BYTES + header : 0;
  }

  private static ByteBuffer read(FileChannel channel, long at, int bytes) throws IOException {
    var buffer = ByteBuffer.allocate(bytes);
    while (buffer.hasRemaining() && channel.read(buffer, at + buffer.position()) >= 0) {
      // until full or at the end
    }
    return buffer.flip();
  }

  ObjectNode toJson() {
    var json = JsonFile.object();
    json.set("identity", identity);
    json.set("modified", modified);
    return json;
  }

  /**
   * What differs between a stored fingerprint and this one, as one phrase; empty when nothing does.
   */
  Optional<String> differenceFrom(JsonNode stored) {
    return difference("", stored, toJson()).map(d -> d.replace("identity.", ""));
  }

  /** The same without the files' times. */
  Optional<String> differenceFromIdentity(JsonNode stored) {
    return difference("", stored, identity);
  }

  private static Optional<String> difference(String path, JsonNode there, JsonNode here) {
    if (there.equals(here)) {
      return Optional.empty();
    }
    if (there.isObject() && here.isObject()) {
      var keys = new TreeSet<String>();
      there.fieldNames().forEachRemaining(keys::add);
      here.fieldNames().forEachRemaining(keys::add);
      String prefix = path.isEmpty() ? "" : path + ".";
      return keys.stream()
          .map(key -> difference(prefix + key, there.path(key), here.path(key)))
          .flatMap(Optional::stream)
          .findFirst();
    }
    // 8 and 8L are different nodes of the same value
    return there.toString().equals(here.toString())
        ? Optional.empty()
        : Optional.of(path + " was " + shown(there) + " and is now " + shown(here));
  }

  private static String shown(JsonNode node) {
    String text = node.isMissingNode() ? "absent" : node.toString();
    return text.length() > 80 ? text.substring(0, 80) + "..." : text;
  }

  /** Whether a file of the model changed after {@code time}. */
  static boolean changedSince(ModelDirectory source, FileTime time) {
    for (Path file : filesOf(source)) {
      try {
        if (Files.getLastModifiedTime(file).compareTo(time) > 0) {
          return true;
        }
      } catch (IOException e) {
        throw DurableFiles.failed("read", file, e);
      }
    }
    return false;
  }
}
