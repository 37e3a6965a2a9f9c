package org.nanomodel.quantize;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The most resident memory this process has had. */
public final class PeakMemory {
  private PeakMemory() {}

  /** In bytes; 0 where the system does not tell. */
  public static long bytes() {
    Path status = Path.of("/proc/self/status");
    if (!Files.isReadable(status)) {
      return 0;
    }
    try (var lines = Files.lines(status)) {
      return lines
          .filter(line -> line.startsWith("VmHWM:"))
          .mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", "")) << 10)
          .findFirst()
          .orElse(0);
    } catch (IOException | NumberFormatException e) {
      return 0;
    }
  }

  /** Starts the count anew; false where the system does not let us. */
  public static boolean reset() {
    try {
      Files.writeString(Path.of("/proc/self/clear_refs"), "5"); // VmHWM = VmRSS, see proc(5)
      return true;
    } catch (IOException e) {
      return false;
    }
  }
}
