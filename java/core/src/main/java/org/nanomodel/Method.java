package org.nanomodel;

import java.util.Arrays;
import java.util.stream.Collectors;

/** How weights are quantized, under the names that checkpoints and the command line use. */
public enum Method {
  /** Round to nearest: no calibration data. */
  RTN("rtn", true),
  /** Frantar et al. 2022. */
  GPTQ("gptq", true),
  /** GPTQ with asymmetric calibration, Li et al. 2025. */
  GPTAQ("gptaq", false),
  /** Activation-aware scaling, Lin et al. 2023. */
  AWQ("awq", true),
  /** W4A8, Zhang et al. 2024. */
  QQQ("qqq", true),
  /** W8A8, Xiao et al. 2022. */
  SMOOTHQUANT("smoothquant", true);

  private final String value;
  private final boolean available;

  Method(String value, boolean available) {
    this.value = value;
    this.available = available;
  }

  /** The name in JSON and on the command line. */
  public String value() {
    return value;
  }

  /** Whether this version quantizes with it. */
  public boolean isAvailable() {
    return available;
  }

  /** Whether it looks at calibration data. */
  public boolean isCalibrated() {
    return this != RTN;
  }

  /** The method of a name, any case; an unknown one is refused with the list. */
  public static Method of(String name) {
    for (var method : values()) {
      if (method.value.equalsIgnoreCase(name)) {
        return method;
      }
    }
    throw new NanoModelException(
        "unknown quantization method '" + name + "': expected one of " + names(false));
  }

  /** The methods this version quantizes with, as one would type them. */
  public static String available() {
    return names(true);
  }

  private static String names(boolean availableOnly) {
    return Arrays.stream(values())
        .filter(m -> m.available || !availableOnly)
        .map(Method::value)
        .collect(Collectors.joining(", "));
  }

  @Override
  public String toString() {
    return value;
  }
}
