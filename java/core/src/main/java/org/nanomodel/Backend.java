package org.nanomodel;

import java.util.Locale;

/** Which kernels serve a model. */
public enum Backend {
  /** The best that device and processor have. */
  AUTO,
  /** The fastest tier of this processor. */
  CPU,
  /** Plain C++ on the CPU: slow, and the oracle of all others. */
  REFERENCE,
  CUDA;

  public static Backend parse(String name) {
    for (var backend : values()) {
      if (backend.name().equalsIgnoreCase(name)) {
        return backend;
      }
    }
    throw new IllegalArgumentException(
        "unknown backend '" + name + "': expected auto, cpu, reference or cuda");
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
