package org.nanomodel.cli;

import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import picocli.CommandLine.Option;

/** {@code --max-shard-size 5GB}. */
final class ShardFlag {
  private static final Pattern SIZE = Pattern.compile("(\\d{1,12})\\s*(|B|KB|MB|GB|KIB|MIB|GIB)");

  @Option(
      names = "--max-shard-size",
      paramLabel = "SIZE",
      description = "Larger weights are cut into several files: 500MB, 5GB. Default: 5GB.")
  private String size;

  long bytes(long otherwise) {
    if (size == null) {
      return otherwise;
    }
    Matcher matcher = SIZE.matcher(size.strip().toUpperCase(Locale.ROOT));
    if (!matcher.matches()) {
      throw new UsageException(
          "--max-shard-size " + size + ": expected a number of bytes, KB, MB or GB");
    }
    long unit =
        switch (matcher.group(2)) {
          case "KB" -> 1_000L;
          case "MB" -> 1_000_000L;
          case "GB" -> 1_000_000_000L;
          case "KIB" -> 1L << 10;
          case "MIB" -> 1L << 20;
          case "GIB" -> 1L << 30;
          default -> 1L;
        };
    return Math.multiplyExact(Long.parseLong(matcher.group(1)), unit);
  }
}
