package org.nanomodel.quantize;

import java.util.Locale;
import org.nanomodel.NanoModelException;

/**
 * What becomes of a data set before it calibrates; which documents and how long, {@link
 * org.nanomodel.data.DataOptions} says.
 *
 * @param minLength rows of so many tokens or fewer are left out
 * @param concatSize rows are joined and cut anew into rows of so many tokens; 0 = they stay
 * @param separator text between rows that are joined; null = none
 * @param sort the order of the rows
 * @param seed of {@link Sort#SHUFFLE}
 * @param batchSize the most rows of a forward pass; 0 = as many as fit {@value #BATCH_TOKENS}
 *     tokens. The last bits of the result may depend on it
 */
public record CalibrationOptions(
    int minLength, int concatSize, String separator, Sort sort, long seed, int batchSize) {
  /** Tokens of a forward pass, unless one row has more. */
  public static final int BATCH_TOKENS = 1024;

  /** As GPTQModel does: rows of 10 tokens or fewer left out, the longest first. */
  public static final CalibrationOptions DEFAULT =
      new CalibrationOptions(10, 0, null, Sort.DESC, 0, 0);

  /** By the number of tokens; rows of the same length keep their order. */
  public enum Sort {
    DESC,
    ASC,
    SHUFFLE,
    NONE;

    /** The value of a name, any case. */
    public static Sort of(String name) {
      try {
        return valueOf(name.toUpperCase(Locale.ROOT));
      } catch (IllegalArgumentException e) {
        throw new NanoModelException(
            "calibration sort '" + name + "': expected one of desc, asc, shuffle, none");
      }
    }
  }

  public CalibrationOptions {
    if (minLength < 0 || concatSize < 0 || batchSize < 0) {
      throw new NanoModelException(
          "calibration: min length, concat size and batch size are 0 or more; got "
              + minLength
              + ", "
              + concatSize
              + ", "
              + batchSize);
    }
    if (separator != null && concatSize == 0) {
      throw new NanoModelException("calibration: a separator needs a concat size");
    }
  }

  public CalibrationOptions withMinLength(int value) {
    return new CalibrationOptions(value, concatSize, separator, sort, seed, batchSize);
  }

  /** Joins all rows, {@code text} (or null) between them, and cuts them into rows of a size. */
  public CalibrationOptions withConcat(int size, String text) {
    return new CalibrationOptions(minLength, size, text, sort, seed, batchSize);
  }

  public CalibrationOptions withSort(Sort value, long shuffleSeed) {
    return new CalibrationOptions(minLength, concatSize, separator, value, shuffleSeed, batchSize);
  }

  public CalibrationOptions withBatchSize(int value) {
    return new CalibrationOptions(minLength, concatSize, separator, sort, seed, value);
  }
}
