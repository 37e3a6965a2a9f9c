package org.nanomodel.cli;

import org.nanomodel.data.DataOptions;
import org.nanomodel.data.TextData;
import picocli.CommandLine.Option;

/** {@code --data} and what to take of it. */
final class DataFlags {
  @Option(
      names = {"-d", "--data"},
      paramLabel = "DATA",
      description =
          "A .txt file, a .jsonl file (lines of text, input_ids, or arrays of ids), a .safetensors"
              + " file with input_ids [rows, T], or a bundled text (stories-eval, stories-calib).")
  private String data;

  @Option(
      names = "--separator",
      paramLabel = "TEXT",
      description = "Splits a .txt file into documents. Default: the file is one.")
  private String separator;

  @Option(
      names = "--enclose",
      paramLabel = "TEXT",
      description =
          "Stands before and after each document, such as <|endoftext|>. Default: what the"
              + " tokenizer adds.")
  private String enclose;

  @Option(
      names = "--samples",
      paramLabel = "N",
      description = "So many documents or rows. Default: all.")
  private int samples;

  @Option(
      names = "--seq-len",
      paramLabel = "T",
      description = "Rows are cut to so many tokens. Default: not cut.")
  private int seqLen;

  @Option(
      names = "--limit-tokens",
      paramLabel = "N",
      description = "So many tokens in all. Default: all.")
  private long limitTokens;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Draws the samples with this seed. Default: the first ones.")
  private Long seed;

  boolean given() {
    return data != null;
  }

  TextData open() {
    return TextData.open(
        data, new DataOptions(separator, enclose, samples, seqLen, limitTokens, seed));
  }
}
