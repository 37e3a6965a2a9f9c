package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.data.TextData;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Config;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * The rows of token ids that calibrate, in the order in which they run. Rows longer than the
 * model's context are cut; those too short to tell anything are left out.
 */
public final class Calibration {
  private static final int FEW_ROWS = 128;
  private static final long FEW_TOKENS = 32_768;
  private static final int ROW_OF_LONG_TEXT = 2048;

  private final String name;
  private final List<int[]> rows;
  private final CalibrationOptions options;
  private final List<String> warnings;

  private Calibration(
      String name, List<int[]> rows, CalibrationOptions options, List<String> warnings) {
    this.name = name;
    this.rows = List.copyOf(rows);
    this.options = options;
    this.warnings = List.copyOf(warnings);
  }

  /** Reads with {@link CalibrationOptions#DEFAULT}. */
  public static Calibration of(TextData data, Optional<Tokenizer> tokenizer, Config model) {
    return of(data, tokenizer, model, CalibrationOptions.DEFAULT);
  }

  /**
   * Reads a data set. A text that is one document becomes rows of {@code seqLen} tokens (else of
   * the context, at most 2048), all of the same length, of which {@code samples} are taken.
   */
  public static Calibration of(
      TextData data, Optional<Tokenizer> tokenizer, Config model, CalibrationOptions options) {
    var warnings = new ArrayList<String>();
    List<int[]> rows = read(data, tokenizer, model.maxPositions());
    if (options.concatSize() > 0) {
      int size = Math.min(options.concatSize(), model.maxPositions());
      rows = cut(joined(rows, separator(options, tokenizer)), size, true);
    }
    rows = checked(data.name(), rows, model, warnings);
    rows = longEnough(data.name(), rows, options, warnings);
    sort(rows, options);
    warnings.addAll(doubts(rows));
    return new Calibration(data.name(), rows, options, warnings);
  }

  private static List<int[]> read(TextData data, Optional<Tokenizer> tokenizer, int context) {
    if (!data.isText() || data.size() > 1) {
      return data.rows(tokenizer, context);
    }
    var options = data.options();
    int length = options.seqLen() > 0 ? options.seqLen() : ROW_OF_LONG_TEXT;
    int[] stream = data.stream(tokenizer);
    length = Math.min(length, context);
    return TextData.ofIds(data.name(), cut(stream, length, stream.length < length), options)
        .rows(tokenizer, context);
  }

  private static int[] separator(CalibrationOptions options, Optional<Tokenizer> tokenizer) {
    if (options.separator() == null) {
      return new int[0];
    }
    return tokenizer
        .orElseThrow(() ->
            new NanoModelException(
                "calibration: a separator is text, but the model has no tokenizer.json"))
        .encode(options.separator(), false);
  }

  private static int[] joined(List<int[]> rows, int[] separator) {
    long length = rows.stream().mapToLong(row -> row.length + separator.length).sum();
    var all = new int[Math.toIntExact(length)];
    int at = 0;
    for (int[] row : rows) {
      System.arraycopy(row, 0, all, at, row.length);
      System.arraycopy(separator, 0, all, at + row.length, separator.length);
      at += row.length + separator.length;
    }
    return Arrays.copyOf(all, Math.max(0, at - separator.length));
  }

  private static List<int[]> cut(int[] stream, int length, boolean withRest) {
    var rows = new ArrayList<int[]>();
    for (int at = 0; at < stream.length; at += length) {
      if (withRest || at + length <= stream.length) {
        rows.add(Arrays.copyOfRange(stream, at, Math.min(stream.length, at + length)));
      }
    }
    return rows;
  }

  /** Ids that the model knows, in rows that fit its context. */
  private static List<int[]> checked(
      String name, List<int[]> rows, Config model, List<String> warnings) {
    var fitting = new ArrayList<int[]>();
    int context = model.maxPositions();
    long tooLong = rows.stream().filter(row -> row.length > context).count();
    for (int[] row : rows) {
      for (int id : row) {
        if (id < 0 || id >= model.vocabSize()) {
          throw new NanoModelException(
              "calibration "
                  + name
                  + ": row "
                  + fitting.size()
                  + " holds id "
                  + id
                  + ", the model knows 0 to "
                  + (model.vocabSize() - 1)
                  + ": was it made with another tokenizer?");
        }
      }
      fitting.add(row.length > context ? Arrays.copyOf(row, context) : row);
    }
    if (tooLong > 0) {
      warnings.add(
          "calibration: " + tooLong + " rows were cut to the model's context of " + context);
    }
    return fitting;
  }

  private static List<int[]> longEnough(
      String name, List<int[]> rows, CalibrationOptions options, List<String> warnings) {
    var kept = new ArrayList<>(rows);
    kept.removeIf(row -> row.length <= options.minLength());
    int dropped = rows.size() - kept.size();
    if (kept.isEmpty()) {
      throw new NanoModelException(
          "calibration "
              + name
              + " has "
              + rows.size()
              + " rows, none of more than "
              + options.minLength()
              + " tokens");
    }
    if (dropped > 0) {
      warnings.add(
          "calibration: "
              + dropped
              + " of "
              + rows.size()
              + " rows left out, of "
              + options.minLength()
              + " tokens or fewer");
    }
    return kept;
  }

  private static void sort(List<int[]> rows, CalibrationOptions options) {
    Comparator<int[]> byLength = Comparator.comparingInt(row -> row.length);
    switch (options.sort()) {
      case DESC -> rows.sort(byLength.reversed());
      case ASC -> rows.sort(byLength);
      case SHUFFLE -> Collections.shuffle(rows, new Random(options.seed()));
      case NONE -> {}
    }
  }

  /** What makes statistics poor: few rows, the same rows, the same token. */
  private static List<String> doubts(List<int[]> rows) {
    var doubts = new ArrayList<String>();
    long tokens = tokens(rows);
    if (rows.size() < FEW_ROWS && tokens < FEW_TOKENS) {
      doubts.add(
          "calibration: only "
              + rows.size()
              + " rows with "
              + tokens
              + " tokens; "
              + FEW_ROWS
              + " rows or "
              + FEW_TOKENS
              + " tokens are the least that is usual");
    }
    var distinct = new HashSet<List<Integer>>();
    var counts = new HashMap<Integer, Long>();
    for (int[] row : rows) {
      distinct.add(Arrays.stream(row).boxed().toList());
      Arrays.stream(row).forEach(id -> counts.merge(id, 1L, Long::sum));
    }
    if (2 * distinct.size() <= rows.size()) {
      doubts.add("calibration: of " + rows.size() + " rows only " + distinct.size() + " differ");
    }
    var most = Collections.max(counts.entrySet(), java.util.Map.Entry.comparingByValue());
    if (2 * most.getValue() >= tokens) {
      doubts.add(
          "calibration: "
              + Math.round(100.0 * most.getValue() / tokens)
              + " % of the tokens are the same, id "
              + most.getKey());
    }
    return doubts;
  }

  private static long tokens(List<int[]> rows) {
    return rows.stream().mapToLong(row -> row.length).sum();
  }

  /** Where it came from. */
  public String name() {
    return name;
  }

  /** Not to be changed. */
  public List<int[]> rows() {
    return rows;
  }

  public long tokens() {
    return tokens(rows);
  }

  public CalibrationOptions options() {
    return options;
  }

  /** What makes the statistics poor, a line each. */
  public List<String> warnings() {
    return warnings;
  }

  /** What a job's result depends on: the ids in their order, and how they are batched. */
  ObjectNode identity() {
    var digest = DurableFiles.sha256();
    for (int[] row : rows) {
      var bytes = ByteBuffer.allocate(4 * (row.length + 1)).order(ByteOrder.LITTLE_ENDIAN);
      bytes.putInt(row.length);
      Arrays.stream(row).forEach(bytes::putInt);
      digest.update(bytes.flip());
    }
    return JsonFile.object()
        .put("rows", rows.size())
        .put("tokens", tokens())
        .put("sha256", DurableFiles.hex(digest))
        .put("batch_size", options.batchSize());
  }
}
