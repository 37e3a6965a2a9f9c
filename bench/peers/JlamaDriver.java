import com.github.tjake.jlama.math.VectorMath;
import com.github.tjake.jlama.model.AbstractModel;
import com.github.tjake.jlama.model.ModelSupport;
import com.github.tjake.jlama.safetensors.DType;
import com.github.tjake.jlama.safetensors.SafeTensorSupport;
import com.github.tjake.jlama.tensor.AbstractTensor;
import com.github.tjake.jlama.tensor.FloatBufferTensor;
import com.github.tjake.jlama.tensor.KvBufferCache;
import com.github.tjake.jlama.tensor.operations.TensorOperations;
import com.github.tjake.jlama.tensor.operations.TensorOperationsProvider;
import com.github.tjake.jlama.util.PhysicalCoreExecutor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * Jlama with its native kernels: Q4 weights in blocks of 32, inputs rounded to 8 bits, as its
 * models have them.
 *
 * <pre>
 * java JlamaDriver.java                   answers Peers.java
 * java JlamaDriver.java quantize IN OUT   a model directory to Q4
 * </pre>
 *
 * Its threads are set once for a process.
 */
final class JlamaDriver implements Driver.Peer {
  public static void main(String[] args) throws Exception {
    if (args.length == 3 && args[0].equals("quantize")) {
      SafeTensorSupport.quantizeModel(
          Path.of(args[1]), DType.Q4, new String[0], new String[0], Optional.of(Path.of(args[2])));
      System.exit(0);
    }
    Driver.serve(new JlamaDriver());
  }

  private int threads;

  private void start(int wanted) {
    if (threads == 0) {
      PhysicalCoreExecutor.overrideThreadCount(wanted);
      threads = wanted;
    }
    if (threads != wanted) {
      throw new UnsupportedOperationException("its threads are set once for a process");
    }
  }

  @Override
  public Driver.Pass linear(String kind, int size, int m, int layers, int wanted) {
    start(wanted);
    List<AbstractTensor> weights = new ArrayList<>();
    var floats = new FloatBufferTensor(size, size);
    floats
        .getMemorySegment()
        .copyFrom(java.lang.foreign.MemorySegment.ofArray(Driver.weights(size)));
    for (int i = 0; i < layers; i++) {
      weights.add(floats.quantize(DType.Q4));
    }
    var x = new FloatBufferTensor(m, size);
    x.getMemorySegment().copyFrom(java.lang.foreign.MemorySegment.ofArray(Driver.inputs(m * size)));
    AbstractTensor[] out = {new FloatBufferTensor(m, size), new FloatBufferTensor(m, size)};
    TensorOperations ops = TensorOperationsProvider.get();
    if (!ops.name().startsWith("Native")) {
      throw new UnsupportedOperationException("its native kernels are missing: " + ops.name());
    }
    return () -> {
      AbstractTensor in = x;
      for (int i = 0; i < layers; i++) {
        AbstractTensor y = out[i & 1];
        AbstractTensor w = weights.get(i);
        try (AbstractTensor rounded = ops.quantize(in, DType.I8, 0, size)) {
          VectorMath.pchunk(
              0, size, (start, n) -> ops.dotProductChunk(y, rounded, w, 0, size, start, n));
        }
        in = y;
      }
    };
  }

  @Override
  public Driver.Model model(Path path, int wanted) {
    start(wanted);
    return new Loaded(ModelSupport.loadModel(path.toFile(), DType.F32, DType.I8));
  }

  private static final class Loaded implements Driver.Model {
    private final AbstractModel model;
    private final KvBufferCache.KvBuffer cache;
    private int length;

    Loaded(AbstractModel model) {
      this.model = model;
      try {
        // Its constructor is not public; generate() would make one for each text.
        var field = AbstractModel.class.getDeclaredField("kvBufferCache");
        field.setAccessible(true);
        cache = ((KvBufferCache) field.get(model)).getEphemeralKvBuffer();
      } catch (ReflectiveOperationException e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public void clear() {
      length = 0;
      cache.setCurrentContextPosition(0);
    }

    @Override
    public void add(int[] tokens) {
      AbstractTensor hidden =
          tokens.length == 1
              ? model.forward(tokens[0], length, cache, Optional.empty())
              : model.batchForward(tokens, length, cache);
      AbstractTensor last = tokens.length == 1 ? hidden : hidden.slice(hidden.shape().first() - 1);
      model.getLogits(last);
      length += tokens.length;
    }

    @Override
    public int vocabulary() {
      return model.getConfig().vocabularySize;
    }
  }
}
