package org.nanomodel.quantize;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Rows of ids in the pieces in which they run: whole rows, as many as fit. Where pieces end depends
 * on the rows alone, so that a job's arithmetic does.
 *
 * @param maxTokens of a chunk
 * @param maxTexts of a chunk
 */
record TextChunks(List<Chunk> chunks, int maxTokens, int maxTexts) {
  /**
   * Rows that run together.
   *
   * @param first the place of their first token among all tokens
   * @param lengths of the rows
   * @param ids of the rows, one after the other
   */
  record Chunk(long first, int[] lengths, int[] ids) {
    int tokens() {
      return ids.length;
    }
  }

  static TextChunks of(Calibration calibration) {
    int batch = calibration.options().batchSize();
    int most = batch == 0 ? CalibrationOptions.BATCH_TOKENS : Integer.MAX_VALUE;
    return of(calibration.rows(), most, batch == 0 ? Integer.MAX_VALUE : batch);
  }

  static TextChunks of(List<int[]> rows, int mostTokens, int mostTexts) {
    var chunks = new ArrayList<Chunk>();
    long first = 0;
    for (int from = 0; from < rows.size(); ) {
      int to = from;
      long tokens = 0;
      do {
        tokens += rows.get(to++).length;
      } while (to < rows.size()
          && to - from < mostTexts
          && tokens + rows.get(to).length <= mostTokens);
      var some = rows.subList(from, to);
      chunks.add(
          new Chunk(
              first,
              some.stream().mapToInt(row -> row.length).toArray(),
              some.stream().flatMapToInt(Arrays::stream).toArray()));
      first += tokens;
      from = to;
    }
    return new TextChunks(
        List.copyOf(chunks),
        chunks.stream().mapToInt(Chunk::tokens).max().orElse(0),
        chunks.stream().mapToInt(c -> c.lengths().length).max().orElse(0));
  }

  long tokens() {
    return chunks.stream().mapToLong(Chunk::tokens).sum();
  }
}
