package org.nanomodel;

import java.nio.file.Path;
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

  /** The file of the native library that was loaded. */
  public static Path library() {
    return NativeLibrary.path();
  }
}
