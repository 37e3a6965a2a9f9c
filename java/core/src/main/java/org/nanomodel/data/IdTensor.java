package org.nanomodel.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.NanoModelException;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.TensorInfo;

/** The tensor {@code input_ids} [rows, T], I32 or I64, of a .safetensors file. */
final class IdTensor {
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private IdTensor() {}

  static List<int[]> read(Path path) {
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      TensorInfo info = file.tensor("input_ids");
      boolean wide = info.dtype() == DType.I64;
      if (info.rank() != 2 || !wide && info.dtype() != DType.I32) {
        throw new NanoModelException(
            "%s: input_ids is %s; expected I32 or I64 of two dimensions".formatted(path, info));
      }
      return rows(path, file.segment("input_ids"), (int) info.dim(0), (int) info.dim(1), wide);
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage(), e);
    }
  }

  private static List<int[]> rows(
      Path path, MemorySegment data, int rows, int length, boolean wide) {
    List<int[]> out = new ArrayList<>(rows);
    for (int r = 0; r < rows; r++) {
      int[] row = new int[length];
      for (int i = 0; i < length; i++) {
        long at = (long) r * length + i;
        long id = wide ? data.get(LONG, 8 * at) : data.get(INT, 4 * at);
        if (id < 0 || id > Integer.MAX_VALUE) {
          throw new NanoModelException(
              "%s: input_ids[%d, %d] is %d; expected 0 or more".formatted(path, r, i, id));
        }
        row[i] = (int) id;
      }
      out.add(row);
    }
    return out;
  }
}
