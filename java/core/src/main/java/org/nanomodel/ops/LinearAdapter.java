package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * The low-rank parts of the modules of a {@link Linear}: the A's of all of them are one product
 * with x, below each other; each B then has its own columns of y. Packed; owned by the linear.
 */
public final class LinearAdapter implements AutoCloseable {
  /**
   * One module's B.
   *
   * @param column of y where its outputs begin
   * @param at of the ranks side by side where its own begin
   */
  private record Part(Linear up, long column, long at) {}

  private final Linear down;
  private final List<Part> parts;

  private LinearAdapter(Linear down, List<Part> parts) {
    this.down = down;
    this.parts = List.copyOf(parts);
  }

  /**
   * Packs the parts of modules that lie side by side in N; null when none has any.
   *
   * @param n outputs of each module
   */
  public static LinearAdapter pack(Engine engine, List<Optional<LowRank>> of, long[] n) {
    List<LowRank> present = of.stream().flatMap(Optional::stream).toList();
    if (present.isEmpty()) {
      return null;
    }
    var packed = new ArrayList<Linear>();
    try (var arena = Arena.ofShared()) {
      List<FloatWeight> a = present.stream().map(LowRank::a).toList();
      FloatWeight all =
          FloatWeight.concat(arena, a)
              .or(() ->
                  FloatWeight.concat(
                      arena, a.stream().map(w -> scaled(engine, arena, w, 1)).toList()))
              .orElseThrow();
      packed.add(Linear.pack(engine, "lora_A", all, null));
      var parts = new ArrayList<Part>();
      long column = 0;
      long at = 0;
      for (int i = 0; i < n.length; i++) {
        if (of.get(i).isPresent()) {
          LowRank own = of.get(i).get();
          Checks.that(own.n() == n[i], "LinearAdapter", "B has another N than its module", own.n());
          FloatWeight b = own.scale() == 1 ? own.b() : scaled(engine, arena, own.b(), own.scale());
          packed.add(Linear.pack(engine, "lora_B", b, null));
          parts.add(new Part(packed.getLast(), column, at));
          at += own.rank();
        }
        column += n[i];
      }
      return new LinearAdapter(packed.getFirst(), parts);
    } catch (RuntimeException | Error e) {
      packed.forEach(Linear::close);
      throw e;
    }
  }

  /** The same as F32, times a factor. */
  private static FloatWeight scaled(Engine engine, Arena arena, FloatWeight w, float factor) {
    MemorySegment data = Tensor.allocate(arena, DataType.F32, w.n(), w.k()).segment();
    engine
        .ops()
        .convert(
            Tensor.of(DataType.F32, data, w.n(), w.k()),
            Tensor.of(w.type(), w.data(), w.n(), w.k()));
    for (long i = 0; i < w.n() * w.k(); i++) {
      data.setAtIndex(
          ValueLayout.JAVA_FLOAT, i, factor * data.getAtIndex(ValueLayout.JAVA_FLOAT, i));
    }
    return new FloatWeight(DataType.F32, w.n(), w.k(), data);
  }

  /** Of all parts together. */
  long rank() {
    return down.n();
  }

  long k() {
    return down.k();
  }

  long bytes() {
    return down.bytes() + parts.stream().mapToLong(part -> part.up().bytes()).sum();
  }

  /**
   * Adds its part to y.
   *
   * @param between room for A x: F32 [x.rows(), rank()]
   */
  void add(Ops ops, Tensor y, Tensor x, Tensor between) {
    ops.linear(between, x, down);
    for (Part part : parts) {
      Tensor own = y.columns(part.column(), part.up().n());
      ops.linearAdd(own, between.columns(part.at(), part.up().k()), part.up());
    }
  }

  @Override
  public void close() {
    down.close();
    parts.forEach(part -> part.up().close());
  }
}
