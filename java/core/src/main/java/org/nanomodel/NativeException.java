package org.nanomodel;

/**
 * The native library refused a call, or could not be loaded. {@link #code()} is an {@code
 * nm_status} of nanomodel.h, or 0 when the library itself was not there.
 */
public class NativeException extends NanoModelException {
  private static final long serialVersionUID = 1L;

  public static final int ARGUMENT = -1;
  public static final int STRUCT_SIZE = -2;
  public static final int HANDLE = -3;
  public static final int UNSUPPORTED = -4;
  public static final int MEMORY = -5;
  public static final int DEVICE = -6;
  public static final int CANCELLED = -7;
  public static final int INTERNAL = -8;

  private final int code;

  public NativeException(int code, String message) {
    super(message);
    this.code = code;
  }

  public NativeException(String message, Throwable cause) {
    super(message, cause);
    this.code = 0;
  }

  public int code() {
    return code;
  }

  /** Whether memory or the device gave out, so that a smaller job may succeed. */
  public boolean outOfResources() {
    return code == MEMORY || code == DEVICE;
  }
}
