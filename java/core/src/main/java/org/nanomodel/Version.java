package org.nanomodel;

import org.nanomodel.ffi.NativeLibrary;

/** The version of this library, as it is written into checkpoints. */
public final class Version {
  public static final String NUMBER = "0.1.0";

  /** The entry of {@code meta.quantizer}. */
  public static final String QUANTIZER = "nanomodel:" + NUMBER;

  private Version() {}

  /** The version of the native library's interface, {@code major.minor}. */
  public static String abi() {
    return NativeLibrary.abi();
  }
}
