package org.nanomodel.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Lists and ranges as llama-bench takes them: {@code 128,512}, {@code 1-4}, {@code 128-512+128} (by
 * steps), {@code 128-1024*2} (by factors).
 */
final class NumberList {
  private static final Pattern RANGE = Pattern.compile("(\\d+)-(\\d+)(?:([+*])(\\d+))?");
  private static final int MOST = 1000;

  private NumberList() {}

  static List<Integer> parse(String flag, String text) {
    List<Integer> numbers = new ArrayList<>();
    for (String part : text.split(",", -1)) {
      Matcher range = RANGE.matcher(part.strip());
      try {
        if (range.matches()) {
          addRange(range, numbers);
        } else {
          numbers.add(Integer.parseUnsignedInt(part.strip()));
        }
      } catch (IllegalArgumentException e) {
        throw new UsageException(
            "%s %s: expected numbers such as 128,512 or ranges such as 1-4, 128-512+128, 128-1024*2"
                .formatted(flag, text));
      }
    }
    return numbers;
  }

  private static void addRange(Matcher range, List<Integer> numbers) {
    long first = Integer.parseInt(range.group(1));
    long last = Integer.parseInt(range.group(2));
    boolean times = "*".equals(range.group(3));
    long by = range.group(4) == null ? 1 : Integer.parseInt(range.group(4));
    if (last < first || by < (times ? 2 : 1) || times && first == 0) {
      throw new IllegalArgumentException("a range that does not end");
    }
    for (long n = first; n <= last; n = times ? n * by : n + by) {
      if (numbers.size() == MOST) {
        throw new IllegalArgumentException("too many numbers");
      }
      numbers.add((int) n);
    }
  }
}
