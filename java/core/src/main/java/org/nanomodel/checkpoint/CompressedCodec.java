package org.nanomodel.checkpoint;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.WordLayout;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * What the integer layouts of compressed-tensors have in common: signed codes, weight_scale [N, G]
 * in any float type, weight_zero_point, weight_g_idx. Signed codes and zeros are stored; adding
 * 2^(bits-1) to both makes them canonical.
 */
abstract sealed class CompressedCodec extends Codec permits PackQuantizedCodec, IntQuantizedCodec {
  /** Scales in the type of the model, since readers make weights of their type. */
  @Override
  public DataType scaleType(DataType weight, ModuleScheme scheme) {
    return ModuleParts.SCALE_TYPES.contains(weight) ? weight : DataType.F16;
  }

  @Override
  public Optional<String> refusal(long n, long k, ModuleScheme scheme) {
    return ModuleParts.refuseShortGroup(k, scheme);
  }

  static Tensor packScales(Arena arena, Ops ops, String module, QuantizedWeight w, DataType type) {
    Tensor rows = Shuffles.transposed(arena, ModuleParts.scales(w));
    return ModuleParts.inRange(arena, ops, module, "scale", rows, type);
  }

  /** Scales [N, G], [N], or one for all, into a weight. */
  static void readScales(
      Arena arena, Ops ops, StoredTensors stored, String module, QuantizedWeight w) {
    String name = module + ".weight_scale";
    Tensor t = stored.tensor(name, ModuleParts.SCALE_TYPES);
    Tensor f32 = ModuleParts.floats(arena, ops, stored, name, t);
    if (t.count() == 1 && w.groups() == 1) {
      Tensor all = Tensor.allocate(arena, DataType.F32, 1, w.n());
      for (long i = 0; i < w.n(); i++) {
        MemorySegment.copy(f32.segment(), 0, all.segment(), 4 * i, 4);
      }
      ModuleParts.setScales(stored, name, w, all);
      return;
    }
    if (t.rank() != 1 || w.groups() != 1) {
      stored.tensor(name, ModuleParts.SCALE_TYPES, w.n(), w.groups());
    }
    ModuleParts.setScales(
        stored, name, w, Shuffles.transposed(arena, f32.reshape(w.n(), w.groups())));
  }

  /** Zero points, signed: I32 words packed along N, or I8 [N, G]; a symmetric module needs none. */
  static void readZeros(
      Arena arena,
      Ops ops,
      StoredTensors stored,
      String module,
      ModuleScheme scheme,
      QuantizedWeight w) {
    String name = module + ".weight_zero_point";
    if (scheme.sym() && !stored.has(name)) {
      ModuleParts.setSymmetric(w);
      return;
    }
    if (stored.type(name) == DataType.I32) {
      long words = WordLayout.ROWS.shape(1, w.n(), w.bits())[1];
      Tensor packed = stored.tensor(name, List.of(DataType.I32), words, w.groups());
      Tensor rows = Shuffles.transposed(arena, packed);
      ops.wordsUnpack(ModuleParts.zeros(w), rows, WordLayout.ROWS, w.bits());
      return;
    }
    Tensor signed = stored.tensor(name, List.of(DataType.I8), w.n(), w.groups());
    ModuleParts.setZeros(w, Shuffles.shifted(arena, Shuffles.transposed(arena, signed), w.bits()));
  }
}
