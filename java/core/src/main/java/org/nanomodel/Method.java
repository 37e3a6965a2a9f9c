package org.nanomodel;

import java.util.Arrays;
import java.util.stream.Collectors;

/** How weights are quantized, under the names that checkpoints and the command line use. */
public enum Method {
  /** Round to nearest: no calibration data. */
  RTN("rtn"),
  /** Frantar et al. 2022. */
  GPTQ("gptq"),
  /** GPTQ that also makes up for what the layers before have changed, Li et al. 2025. */
  GPTAQ("gptaq"),
  /** Activation-aware scaling, Lin et al. 2023. */
  AWQ("awq"),
  /** W4A8, Zhang et al. 2024. */
  QQQ("qqq"),
  /** W8A8, Xiao et al. 2022. */
  SMOOTHQUANT("smoothquant");

  private final String value;

  Method(String value) {
    this.value = value;
  }

  /** The name in JSON and on the command line. */
  public String value() {
    return value;
  }

  /** Whether it looks at calibration data. */
  public boolean isCalibrated() {
    return this != RTN;
  }

  /** Whether GPTQ's column loop chooses the codes, so that {@link GptqConfig} counts. */
  public boolean isGptq() {
    return this == GPTQ || this == GPTAQ || this == QQQ;
  }

  /** The method of a name, any case; an unknown one is refused with the list. */
  public static Method of(String name) {
    for (var method : values()) {
      if (method.value.equalsIgnoreCase(name)) {
        return method;
      }
    }
    throw new NanoModelException(
        "unknown quantization method '"
            + name
            + "': expected one of "
            + Arrays.stream(values()).map(Method::value).collect(Collectors.joining(", ")));
  }

  @Override
  public String toString() {
    return value;
  }
}
