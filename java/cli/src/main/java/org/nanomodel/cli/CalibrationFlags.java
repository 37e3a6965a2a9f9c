package org.nanomodel.cli;

import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Method;
import picocli.CommandLine.Option;

/**
 * Flags of methods that look at data. Round to nearest does not, and says so where one is given.
 */
final class CalibrationFlags {
  @Option(names = "--calibration", paramLabel = "DATA", hidden = true)
  private String calibration;

  @Option(names = "--batch-size", paramLabel = "N", hidden = true)
  private Integer batchSize;

  @Option(names = "--desc-act", hidden = true)
  private boolean descAct;

  @Option(names = "--act-group-aware", negatable = true, hidden = true)
  private Boolean actGroupAware;

  @Option(names = "--static-groups", hidden = true)
  private Boolean staticGroups;

  @Option(names = "--mse", paramLabel = "P", hidden = true)
  private Double mse;

  @Option(names = "--damp-percent", paramLabel = "D", hidden = true)
  private Double dampPercent;

  @Option(names = "--true-sequential", negatable = true, hidden = true)
  private Boolean trueSequential;

  @Option(names = "--offload-to-disk", arity = "0..1", paramLabel = "DIR", hidden = true)
  private String offloadToDisk;

  /** Refused by the configuration of methods without data. */
  boolean descAct() {
    return descAct;
  }

  void noteUnused(Console console, Method method) {
    List<String> given = new ArrayList<>();
    add(given, "--calibration", calibration);
    add(given, "--batch-size", batchSize);
    add(given, "--act-group-aware", actGroupAware);
    add(given, "--static-groups", staticGroups);
    add(given, "--mse", mse);
    add(given, "--damp-percent", dampPercent);
    add(given, "--true-sequential", trueSequential);
    add(given, "--offload-to-disk", offloadToDisk);
    if (!given.isEmpty()) {
      console.note("note: method %s does not use %s", method, String.join(", ", given));
    }
  }

  private static void add(List<String> given, String flag, Object value) {
    if (value != null) {
      given.add(flag);
    }
  }
}
