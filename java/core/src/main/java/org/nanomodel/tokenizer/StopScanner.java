package org.nanomodel.tokenizer;

import java.util.List;

/**
 * Finds stop strings in streamed text, wherever the pieces were cut. Text that may be the beginning
 * of a stop string is held back until it is known not to be one; the stop string itself and what
 * follows are never passed on.
 */
public final class StopScanner {
  private final List<String> stops;
  private final StringBuilder held = new StringBuilder();
  private boolean stopped;

  /**
   * @param stops none of them empty; the list may be
   */
  public StopScanner(List<String> stops) {
    if (stops.stream().anyMatch(String::isEmpty)) {
      throw new IllegalArgumentException("A stop string is empty");
    }
    this.stops = List.copyOf(stops);
  }

  /** The text that can be passed on now; empty after a stop. */
  public String push(String piece) {
    if (stopped || stops.isEmpty()) {
      return stopped ? "" : piece;
    }
    held.append(piece);
    int at = earliestStop();
    if (at >= 0) {
      stopped = true;
      return take(at);
    }
    return take(held.length() - possibleBeginning());
  }

  /** What was held back, when the text ends without a stop. */
  public String finish() {
    return stopped ? "" : take(held.length());
  }

  /** Was a stop string seen? */
  public boolean stopped() {
    return stopped;
  }

  private int earliestStop() {
    int earliest = -1;
    for (String stop : stops) {
      int at = held.indexOf(stop);
      if (at >= 0 && (earliest < 0 || at < earliest)) {
        earliest = at;
      }
    }
    return earliest;
  }

  /** Length of the longest end of the held text that is a beginning of a stop string. */
  private int possibleBeginning() {
    int longest = 0;
    for (String stop : stops) {
      for (int n = Math.min(stop.length() - 1, held.length()); n > longest; n--) {
        if (stop.startsWith(held.substring(held.length() - n))) {
          longest = n;
        }
      }
    }
    return longest;
  }

  private String take(int length) {
    String out = held.substring(0, length);
    held.delete(0, length);
    return out;
  }
}
