package org.nanomodel.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.nanomodel.CancelledException;
import org.nanomodel.NativeException;
import org.nanomodel.ffi.generated.NanoModelH;

/** Turns the status of a native call into the exception that fits it. */
public final class Native {
  private static final int MESSAGE_BYTES = 2048;

  private Native() {}

  /**
   * Loads the library, or says why it cannot be; to be called before the first use of the bindings.
   */
  public static void load() {
    NativeLibrary.lookup();
  }

  /**
   * Returns at once on success; call it on the thread that made the call, since the message is
   * thread-local.
   */
  public static void check(int status) {
    if (status != 0) {
      throw failure(status);
    }
  }

  private static RuntimeException failure(int status) {
    String message = lastError();
    if (message.isEmpty()) {
      message = "native call failed with status " + status;
    }
    return switch (status) {
      case NativeException.CANCELLED -> new CancelledException(message);
      case NativeException.HANDLE -> new IllegalStateException(message);
      default -> new NativeException(status, message);
    };
  }

  static String lastError() {
    try (var arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(MESSAGE_BYTES);
      int status = NanoModelH.nm_last_error(buffer, MESSAGE_BYTES);
      return status == 0 ? text(buffer) : "";
    }
  }

  /**
   * The NUL-terminated text of a {@code char[n]}; what is not UTF-8 (a message cut inside a letter)
   * is replaced.
   */
  public static String text(MemorySegment chars) {
    byte[] bytes = chars.toArray(ValueLayout.JAVA_BYTE);
    int n = 0;
    while (n < bytes.length && bytes[n] != 0) {
      n++;
    }
    return new String(bytes, 0, n, java.nio.charset.StandardCharsets.UTF_8);
  }
}
