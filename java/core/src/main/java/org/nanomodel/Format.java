package org.nanomodel;

import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * Checkpoint layouts of quantized weights, under the names that checkpoints and the command line
 * use.
 */
public enum Format {
  /** GPTQ v1: stored zero = zero - 1. What every reader of GPTQ checkpoints takes. */
  GPTQ("gptq"),
  /** GPTQ v2: stored zero is exact, so that a zero of 0 is safe. */
  GPTQ_V2("gptq_v2"),
  /** Tiles of the Marlin kernel: 4 bits, symmetric. */
  MARLIN("marlin"),
  /** AWQ's usual layout. */
  GEMM("gemm"),
  GEMV("gemv"),
  GEMV_FAST("gemv_fast"),
  /** W4A8: whole rows, or groups of 128 with two levels of scales. */
  QQQ("qqq"),
  /** compressed-tensors {@code pack-quantized}: what llm-compressor writes and vLLM reads. */
  COMPRESSED_TENSORS("compressed-tensors"),
  /** compressed-tensors {@code int-quantized}: W8A8, int8 weights with a scale a row. */
  INT_QUANTIZED("int-quantized"),
  MLX("mlx");

  private final String value;

  Format(String value) {
    this.value = value;
  }

  /** The name in JSON and on the command line. */
  public String value() {
    return value;
  }

  /** The format of a name, any case; an unknown one is refused with the list. */
  public static Format of(String name) {
    for (var format : values()) {
      if (format.value.equalsIgnoreCase(name)) {
        return format;
      }
    }
    throw new NanoModelException(
        "unknown checkpoint format '" + name + "': expected one of " + names());
  }

  /** All of them, as one would type them. */
  public static String names() {
    return Arrays.stream(values()).map(Format::value).collect(Collectors.joining(", "));
  }

  @Override
  public String toString() {
    return value;
  }
}
