import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;
import static org.nanomodel.ffi.generated.NanoModelH.NM_TIER_AVX2;
import static org.nanomodel.ffi.generated.NanoModelH.NM_TIER_AVX512;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Activations;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.NanoModel;
import org.nanomodel.Version;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.ops.Symmetry;
import org.nanomodel.ops.WeightData;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * This engine. Kinds of linear: i4 (groups of 128, 16-bit inputs), i4-int8 (8-bit inputs), w8a8
 * (whole rows), bf16, and read: a plain read of as many bytes as i4 has, the limit of a decode
 * step, from bench/native/roofs.cc.
 */
final class NanoModelDriver implements Driver.Peer {
  private static final int GROUP = 128;

  public static void main(String[] args) throws Exception {
    Driver.serve(new NanoModelDriver());
  }

  @Override
  public Driver.Pass linear(String kind, int size, int m, int layers, int threads)
      throws Exception {
    Activations activations =
        kind.equals("i4-int8") || kind.equals("w8a8") ? Activations.INT8 : Activations.NEAR_EXACT;
    Engine engine =
        Engine.open(EngineOptions.defaults().withThreads(threads).withActivations(activations));
    if (kind.equals("read")) {
      return read(engine, layers * (size * (long) size / 2 + size / GROUP * size * 4L));
    }
    List<Linear> chain = new ArrayList<>();
    try (var scratch = Arena.ofShared()) {
      WeightData weight = weight(scratch, engine, kind, size);
      for (int i = 0; i < layers; i++) {
        chain.add(Linear.pack(engine, "w", weight, null));
      }
    }
    Tensor[] x = {matrix(m, size), matrix(m, size)};
    MemorySegment.copy(Driver.inputs(m * size), 0, x[0].segment(), JAVA_FLOAT, 0, m * size);
    Tensor first = matrix(m, size);
    MemorySegment.copy(x[0].segment(), 0, first.segment(), 0, 4L * m * size);
    Ops ops = engine.ops();
    return () -> {
      Tensor in = first;
      for (int i = 0; i < layers; i++) {
        ops.linear(x[i & 1], in, chain.get(i));
        in = x[i & 1];
      }
    };
  }

  private static Tensor matrix(int m, int size) {
    return Tensor.allocate(Arena.ofAuto(), DataType.F32, m, size);
  }

  private static WeightData weight(Arena scratch, Engine engine, String kind, int size) {
    float[] w = Driver.weights(size);
    if (kind.equals("bf16")) {
      MemorySegment halves = scratch.allocate(2L * w.length, 64);
      for (int i = 0; i < w.length; i++) {
        halves.setAtIndex(JAVA_SHORT, i, (short) (Float.floatToRawIntBits(w[i]) >>> 16));
      }
      return new FloatWeight(DataType.BF16, size, size, halves);
    }
    boolean whole = kind.equals("w8a8");
    var q =
        QuantizedWeight.allocate(scratch, whole ? 8 : 4, size, size, whole ? size : GROUP, null);
    Tensor floats = Tensor.allocate(scratch, DataType.F32, size, size);
    MemorySegment.copy(w, 0, floats.segment(), JAVA_FLOAT, 0, w.length);
    engine.ops().rtn(q, floats, Symmetry.SYMMETRIC, DataType.F32);
    return whole ? q.withActivations(Activations.INT8) : q;
  }

  private static Driver.Pass read(Engine engine, long bytes) throws Exception {
    Arena arena = Arena.global();
    SymbolLookup library =
        SymbolLookup.libraryLookup(
            Version.library().resolveSibling(System.mapLibraryName("nanomodel_roofs")), arena);
    MethodHandle create =
        handle(library, "nmbench_roofs_create", FunctionDescriptor.of(ADDRESS, JAVA_INT, JAVA_INT));
    MethodHandle rate =
        handle(
            library,
            "nmbench_read",
            FunctionDescriptor.of(JAVA_DOUBLE, ADDRESS, ADDRESS, JAVA_LONG));
    MemorySegment memory = arena.allocate(bytes, 64).fill((byte) 1);
    int tier =
        engine.tier().startsWith("avx2") ? NM_TIER_AVX2() : NM_TIER_AVX512(); // how wide to read
    try {
      var roofs = (MemorySegment) create.invoke(engine.threads(), tier);
      return () -> {
        try {
          double unused = (double) rate.invoke(roofs, memory, bytes);
        } catch (Throwable e) {
          throw new IllegalStateException(e);
        }
      };
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private static MethodHandle handle(SymbolLookup library, String name, FunctionDescriptor type) {
    return Linker.nativeLinker().downcallHandle(library.find(name).orElseThrow(), type);
  }

  @Override
  public Driver.Model model(Path path, int threads) {
    return new Loaded(AutoNanoModel.load(path, EngineOptions.defaults().withThreads(threads)));
  }

  private static final class Loaded implements Driver.Model {
    private static final int CONTEXT = 1024;

    private final CausalModel graph;
    private final Batch batch;
    private final Sequence sequence;

    Loaded(NanoModel model) {
      graph = model.graph();
      batch = graph.newBatch(1, CONTEXT);
      sequence = graph.newCache(CONTEXT).newSequence();
    }

    @Override
    public void clear() {
      sequence.truncate(0);
    }

    @Override
    public void add(int[] tokens) {
      for (int at = 0; at < tokens.length; at += batch.maxTokens()) {
        int n = Math.min(batch.maxTokens(), tokens.length - at);
        boolean last = at + n == tokens.length;
        batch.clear().add(sequence, tokens, at, n, last ? Batch.Logits.LAST : Batch.Logits.NONE);
        graph.forward(batch);
      }
    }

    @Override
    public int vocabulary() {
      return graph.config().vocabSize();
    }
  }
}
