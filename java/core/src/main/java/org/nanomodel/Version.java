package org.nanomodel;

/** The version of this library, as it is written into checkpoints. */
public final class Version {
  public static final String NUMBER = "0.1.0";

  /** The entry of {@code meta.quantizer}. */
  public static final String QUANTIZER = "nanomodel:" + NUMBER;

  private Version() {}
}
