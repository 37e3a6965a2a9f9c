package org.nanomodel.data;

/**
 * What to take of a text, and how.
 *
 * @param separator splits a .txt file into documents, which are stripped; null = the file is one
 *     document
 * @param enclose text that stands before and after every document, such as an end-of-text token
 *     that the model saw there in training; null = what the tokenizer adds
 * @param samples this many documents or rows; 0 = all
 * @param seqLen rows are cut to this many tokens; 0 = not cut
 * @param limitTokens rows end when this many tokens are taken; 0 = no limit
 * @param seed draws the samples instead of taking the first ones; null = the first ones
 */
public record DataOptions(
    String separator, String enclose, int samples, int seqLen, long limitTokens, Long seed) {
  /** Everything, as it is. */
  public static final DataOptions ALL = new DataOptions(null, null, 0, 0, 0, null);

  public DataOptions {
    if (separator != null && separator.isEmpty()) {
      throw new IllegalArgumentException("The separator is empty");
    }
    if (samples < 0 || seqLen < 0 || limitTokens < 0) {
      throw new IllegalArgumentException(
          "samples, seq-len and limit-tokens are 0 (all) or more; got %d, %d, %d"
              .formatted(samples, seqLen, limitTokens));
    }
  }

  public DataOptions withSeparator(String value) {
    return new DataOptions(value, enclose, samples, seqLen, limitTokens, seed);
  }

  public DataOptions withEnclose(String value) {
    return new DataOptions(separator, value, samples, seqLen, limitTokens, seed);
  }

  public DataOptions withSamples(int value) {
    return new DataOptions(separator, enclose, value, seqLen, limitTokens, seed);
  }

  public DataOptions withSeqLen(int value) {
    return new DataOptions(separator, enclose, samples, value, limitTokens, seed);
  }

  public DataOptions withLimitTokens(long value) {
    return new DataOptions(separator, enclose, samples, seqLen, value, seed);
  }

  public DataOptions withSeed(Long value) {
    return new DataOptions(separator, enclose, samples, seqLen, limitTokens, value);
  }
}
