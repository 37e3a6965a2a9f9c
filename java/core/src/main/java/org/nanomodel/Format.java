package org.nanomodel;

import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * Checkpoint layouts of quantized weights, under the names that checkpoints and the command line
 * use.
 */
public enum Format {
  /** GPTQ v1: stored zero = zero - 1. What every reader of GPTQ checkpoints takes. */
  GPTQ("gptq", true),
  /** GPTQ v2: stored zero is exact, so that a zero of 0 is safe. */
  GPTQ_V2("gptq_v2", true),
  MARLIN("marlin", false),
  GEMM("gemm", true),
  GEMV("gemv", false),
  GEMV_FAST("gemv_fast", false),
  QQQ("qqq", false),
  COMPRESSED_TENSORS("compressed-tensors", false),
  MLX("mlx", false);

  private final String value;
  private final boolean available;

  Format(String value, boolean available) {
    this.value = value;
    this.available = available;
  }

  /** The name in JSON and on the command line. */
  public String value() {
    return value;
  }

  /** Whether this version reads and writes it. */
  public boolean isAvailable() {
    return available;
  }

  /** The format of a name, any case; an unknown one is refused with the list. */
  public static Format of(String name) {
    for (var format : values()) {
      if (format.value.equalsIgnoreCase(name)) {
        return format;
      }
    }
    throw new NanoModelException(
        "unknown checkpoint format '" + name + "': expected one of " + names(false));
  }

  /** The formats this version reads and writes, as one would type them. */
  public static String available() {
    return names(true);
  }

  private static String names(boolean availableOnly) {
    return Arrays.stream(values())
        .filter(f -> f.available || !availableOnly)
        .map(Format::value)
        .collect(Collectors.joining(", "));
  }

  @Override
  public String toString() {
    return value;
  }
}
