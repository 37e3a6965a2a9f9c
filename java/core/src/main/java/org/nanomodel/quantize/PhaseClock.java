package org.nanomodel.quantize;

import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** Where the time of a job goes. */
final class PhaseClock {
  /** What a job does in turns. */
  enum Phase {
    /** Reading float weights, packing them for the forward pass, quantized ones again. */
    LOAD,
    FORWARD,
    GRAM,
    FACTOR,
    /** For AWQ's scales: many forward passes through parts of a block. */
    SEARCH,
    /** The column loop, or rounding. */
    COLUMNS,
    /** EoRA. */
    ADAPTER,
    PACK,
    WRITE
  }

  private final Map<Phase, Long> nanos = new EnumMap<>(Phase.class);

  /** Counts the time since {@code start}; gives the present time. */
  long since(long start, Phase phase) {
    long now = System.nanoTime();
    add(phase, now - start);
    return now;
  }

  /** Seconds since {@code start}, whatever they were spent on. */
  static double secondsSince(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  void add(Phase phase, long time) {
    nanos.merge(phase, time, Long::sum);
  }

  long of(Phase phase) {
    return nanos.getOrDefault(phase, 0L);
  }

  /** Seconds by phase, in the order of the enum. */
  Map<String, Double> seconds() {
    var seconds = new LinkedHashMap<String, Double>();
    nanos.forEach((phase, time) -> seconds.put(phase.name().toLowerCase(Locale.ROOT), time / 1e9));
    return seconds;
  }
}
