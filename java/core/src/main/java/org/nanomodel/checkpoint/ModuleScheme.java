package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Optional;
import org.nanomodel.json.JsonFields;

/**
 * How one module is quantized: the checkpoint's defaults with its {@code dynamic} overrides
 * applied.
 */
public record ModuleScheme(int bits, long groupSize, boolean sym, boolean descAct) {
  /** The group in input columns: -1, or one wider than the row, means the whole row. */
  public long groupOf(long k) {
    return groupSize < 0 ? k : Math.min(groupSize, k);
  }

  /** Groups of a row; the last one may be short. */
  public long groups(long k) {
    return Math.ceilDiv(k, groupOf(k));
  }

  /** Bits of a code by the first of these fields that is there: 2 to 8. */
  static Optional<Integer> bits(JsonFields fields, String... names) {
    return fields.first(names).map(name -> fields.integer(name, 2, 8));
  }

  /** Input columns that share a scale: positive, or -1 for the whole row. */
  static Optional<Long> groupSize(JsonFields fields, String... names) {
    return fields
        .first(names)
        .map(name -> {
          JsonNode size = fields.get(name);
          boolean fits = size.isIntegralNumber() && size.canConvertToInt();
          if (!fits || size.intValue() != -1 && size.intValue() < 1) {
            throw fields.bad(name, size, "-1 (the whole row) or a positive number");
          }
          return size.longValue();
        });
  }
}
