import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SegmentAllocator;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * llama.cpp and its ggml through their C API, from the shared libraries of a folder. Weights lie
 * where llama.cpp would put them: in the first of the CPU's extra buffers (AMX, repacked), which
 * takes these types. Threads are a pool that lives on, as in llama-bench.
 *
 * <pre>
 * java LlamaCppDriver.java FOLDER                              answers Peers.java
 * java LlamaCppDriver.java FOLDER quantize IN.gguf OUT.gguf    to Q4_0 by llama.cpp's own recipe
 * </pre>
 */
final class LlamaCppDriver implements Driver.Peer {
  /**
   * Stands for structs whose fields differ from version to version: those go by value on the stack,
   * or come through a hidden pointer, where a larger one does no harm.
   */
  private static final MemoryLayout BLOB = blob(512);

  private static final MemoryLayout THREADPOOL_PARAMS = blob(1024);

  private static final MemoryLayout INIT_PARAMS =
      MemoryLayout.structLayout(JAVA_LONG, ADDRESS, JAVA_BOOLEAN, MemoryLayout.paddingLayout(7));
  private static final Map<String, Integer> TYPES = Map.of("q4_0", 2, "q4_K", 12);
  private static final int F32 = 0;
  private static final int FTYPE_Q4_0 = 2;
  private static final int ANY_DEVICE_CPU = 0;
  private static final long TENSORS_BYTES = 16 << 20; // of descriptions, not of data

  private final Arena arena = Arena.global();
  private final List<SymbolLookup> libraries = new ArrayList<>();
  private final MemorySegment device;
  private final MemorySegment registry;

  private LlamaCppDriver(Path folder) throws Throwable {
    for (String name : List.of("libggml-base.", "libggml.", "libllama.")) {
      libraries.add(SymbolLookup.libraryLookup(find(folder, name), arena));
    }
    function("ggml_backend_load_all_from_path", null, ADDRESS).invoke(text(folder));
    function("llama_backend_init", null).invoke();
    device =
        (MemorySegment)
            function("ggml_backend_dev_by_type", ADDRESS, JAVA_INT).invoke(ANY_DEVICE_CPU);
    registry =
        (MemorySegment) function("ggml_backend_dev_backend_reg", ADDRESS, ADDRESS).invoke(device);
  }

  public static void main(String[] args) throws Throwable {
    var peer = new LlamaCppDriver(Path.of(args[0]));
    if (args.length == 4 && args[1].equals("quantize")) {
      peer.quantize(Path.of(args[2]), Path.of(args[3]));
    } else {
      Driver.serve(peer);
    }
  }

  private static MemoryLayout blob(int bytes) {
    return MemoryLayout.structLayout(MemoryLayout.sequenceLayout(bytes / 8, JAVA_LONG));
  }

  private static Path find(Path folder, String prefix) throws IOException {
    try (var files = Files.list(folder)) {
      return files
          .filter(
              f -> f.getFileName().toString().startsWith(prefix) && f.toString().endsWith(".so"))
          .findFirst()
          .orElseThrow(() -> new IOException("no " + prefix + "*.so in " + folder));
    }
  }

  @Override
  public Driver.Pass linear(String kind, int size, int m, int layers, int threads)
      throws Exception {
    if (!TYPES.containsKey(kind)) {
      throw new UnsupportedOperationException("no weights of type " + kind);
    }
    try {
      return new Chain(TYPES.get(kind), size, m, layers, threads);
    } catch (Exception | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  /** A graph of matrix products, each one's output the next one's input. */
  private final class Chain implements Driver.Pass {
    private final MethodHandle compute =
        function("ggml_backend_graph_compute", JAVA_INT, ADDRESS, ADDRESS);
    private final MethodHandle newTensor =
        function("ggml_new_tensor_2d", ADDRESS, ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG);
    private final MethodHandle setTensor =
        function("ggml_backend_tensor_set", null, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG);
    private final MemorySegment backend;
    private final MemorySegment graph;

    Chain(int type, int size, int m, int layers, int threads) throws Throwable {
      backend =
          (MemorySegment)
              function("ggml_backend_dev_init", ADDRESS, ADDRESS, ADDRESS)
                  .invoke(device, MemorySegment.NULL);
      ofCpu("ggml_backend_set_n_threads", null, ADDRESS, JAVA_INT).invoke(backend, threads);
      ofCpu("ggml_backend_cpu_set_threadpool", null, ADDRESS, ADDRESS)
          .invoke(backend, threadPool(threads));
      List<MemorySegment> weights = weights(type, size, layers);

      MemorySegment context = context();
      var first = (MemorySegment) newTensor.invoke(context, F32, (long) size, (long) m);
      MemorySegment x = first;
      MethodHandle multiply = function("ggml_mul_mat", ADDRESS, ADDRESS, ADDRESS, ADDRESS);
      for (MemorySegment w : weights) {
        x = (MemorySegment) multiply.invoke(context, w, x);
      }
      graph = (MemorySegment) function("ggml_new_graph", ADDRESS, ADDRESS).invoke(context);
      function("ggml_build_forward_expand", null, ADDRESS, ADDRESS).invoke(graph, x);
      function("ggml_backend_alloc_ctx_tensors", ADDRESS, ADDRESS, ADDRESS)
          .invoke(context, backend);
      try (var scratch = Arena.ofConfined()) {
        MemorySegment data = scratch.allocateFrom(JAVA_FLOAT, Driver.inputs(size * m));
        setTensor.invoke(first, data, 0L, data.byteSize());
      }
    }

    private List<MemorySegment> weights(int type, int size, int layers) throws Throwable {
      MemorySegment context = context();
      List<MemorySegment> weights = new ArrayList<>();
      for (int i = 0; i < layers; i++) {
        weights.add((MemorySegment) newTensor.invoke(context, type, (long) size, (long) size));
      }
      function("ggml_backend_alloc_ctx_tensors_from_buft", ADDRESS, ADDRESS, ADDRESS)
          .invoke(context, buffers());
      MethodHandle round =
          function(
              "ggml_quantize_chunk",
              JAVA_LONG,
              JAVA_INT,
              ADDRESS,
              ADDRESS,
              JAVA_LONG,
              JAVA_LONG,
              JAVA_LONG,
              ADDRESS);
      try (var scratch = Arena.ofConfined()) {
        MemorySegment floats = scratch.allocate(JAVA_FLOAT, (long) size * size);
        MemorySegment blocks = scratch.allocate(2L * size * size);
        MemorySegment.copy(Driver.weights(size), 0, floats, JAVA_FLOAT, 0, size * size);
        long bytes =
            (long)
                round.invoke(
                    type, floats, blocks, 0L, (long) size, (long) size, MemorySegment.NULL);
        for (MemorySegment w : weights) {
          setTensor.invoke(w, blocks, 0L, bytes);
        }
      }
      return weights;
    }

    /** The CPU's first extra kind of buffer, or its plain one. */
    private MemorySegment buffers() throws Throwable {
      var extra =
          (MemorySegment)
              ofCpu("ggml_backend_dev_get_extra_bufts", ADDRESS, ADDRESS).invoke(device);
      MemorySegment first = extra.reinterpret(ADDRESS.byteSize()).get(ADDRESS, 0);
      return first.address() != 0
          ? first
          : (MemorySegment)
              function("ggml_backend_dev_buffer_type", ADDRESS, ADDRESS).invoke(device);
    }

    private MemorySegment context() throws Throwable {
      MemorySegment params = arena.allocate(INIT_PARAMS);
      params.set(JAVA_LONG, 0, TENSORS_BYTES);
      params.set(JAVA_BOOLEAN, 16, true); // descriptions only
      return (MemorySegment) function("ggml_init", ADDRESS, INIT_PARAMS).invoke(params);
    }

    @Override
    public void run() throws Exception {
      try {
        check((int) compute.invoke(backend, graph), "ggml_backend_graph_compute");
      } catch (Exception | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new IllegalStateException(e);
      }
    }
  }

  @Override
  public Driver.Model model(Path path, int threads) throws Exception {
    try {
      return new Loaded(path, threads);
    } catch (Exception | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new IllegalStateException(e);
    }
  }

  private final class Loaded implements Driver.Model {
    private static final int CONTEXT = 1024;

    private final MethodHandle batch = function("llama_batch_get_one", BLOB, ADDRESS, JAVA_INT);
    private final MethodHandle decode = function("llama_decode", JAVA_INT, ADDRESS, BLOB);
    private final MethodHandle logits =
        function("llama_get_logits_ith", ADDRESS, ADDRESS, JAVA_INT);
    private final MethodHandle clear = function("llama_memory_clear", null, ADDRESS, JAVA_BOOLEAN);
    private final SegmentAllocator scratch = SegmentAllocator.prefixAllocator(arena.allocate(BLOB));
    private final MemorySegment ids = arena.allocate(JAVA_INT, CONTEXT);
    private final MemorySegment context;
    private final MemorySegment memory;
    private final int vocabulary;

    Loaded(Path path, int threads) throws Throwable {
      var params =
          (MemorySegment)
              function("llama_model_default_params", BLOB).invoke((SegmentAllocator) arena);
      var model =
          (MemorySegment)
              function("llama_model_load_from_file", ADDRESS, ADDRESS, BLOB)
                  .invoke(text(path), params);
      if (model.address() == 0) {
        throw new IOException("llama.cpp cannot load " + path);
      }
      var of =
          (MemorySegment)
              function("llama_context_default_params", BLOB).invoke((SegmentAllocator) arena);
      of.set(JAVA_INT, 0, CONTEXT); // n_ctx; n_batch and n_ubatch as they are, 2048 and 512
      context =
          (MemorySegment)
              function("llama_init_from_model", ADDRESS, ADDRESS, BLOB).invoke(model, of);
      memory = (MemorySegment) function("llama_get_memory", ADDRESS, ADDRESS).invoke(context);
      function("llama_set_n_threads", null, ADDRESS, JAVA_INT, JAVA_INT)
          .invoke(context, threads, threads);
      MemorySegment pool = threadPool(threads);
      function("llama_attach_threadpool", null, ADDRESS, ADDRESS, ADDRESS)
          .invoke(context, pool, pool);
      var words = (MemorySegment) function("llama_model_get_vocab", ADDRESS, ADDRESS).invoke(model);
      vocabulary = (int) function("llama_vocab_n_tokens", JAVA_INT, ADDRESS).invoke(words);
    }

    @Override
    public void clear() throws Exception {
      try {
        clear.invoke(memory, false);
      } catch (Throwable e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public void add(int[] tokens) throws Exception {
      MemorySegment.copy(tokens, 0, ids, JAVA_INT, 0, tokens.length);
      try {
        var all = (MemorySegment) batch.invoke(scratch, ids, tokens.length);
        check((int) decode.invoke(context, all), "llama_decode");
        logits.invoke(context, -1); // waits for them
      } catch (Exception | Error e) {
        throw e;
      } catch (Throwable e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public int vocabulary() {
      return vocabulary;
    }
  }

  private void quantize(Path from, Path to) throws Throwable {
    var params =
        (MemorySegment)
            function("llama_model_quantize_default_params", BLOB).invoke((SegmentAllocator) arena);
    params.set(JAVA_INT, 4, FTYPE_Q4_0);
    params.set(JAVA_BOOLEAN, 16, true); // of what is quantized already, too
    check(
        (int)
            function("llama_model_quantize", JAVA_INT, ADDRESS, ADDRESS, ADDRESS)
                .invoke(text(from), text(to), params),
        "llama_model_quantize");
  }

  private MemorySegment threadPool(int threads) throws Throwable {
    var params =
        (MemorySegment)
            function("ggml_threadpool_params_default", THREADPOOL_PARAMS, JAVA_INT)
                .invoke((SegmentAllocator) arena, threads);
    return (MemorySegment) ofCpu("ggml_threadpool_new", ADDRESS, ADDRESS).invoke(params);
  }

  // ---- C ----

  private MethodHandle function(String name, MemoryLayout result, MemoryLayout... arguments) {
    MemorySegment symbol =
        libraries.stream()
            .flatMap(l -> l.find(name).stream())
            .findFirst()
            .orElseThrow(() -> new UnsupportedOperationException("this build exports no " + name));
    return bind(symbol, result, arguments);
  }

  /** A function of the library that ggml chose for this CPU. */
  private MethodHandle ofCpu(String name, MemoryLayout result, MemoryLayout... arguments)
      throws Throwable {
    var symbol =
        (MemorySegment)
            function("ggml_backend_reg_get_proc_address", ADDRESS, ADDRESS, ADDRESS)
                .invoke(registry, arena.allocateFrom(name));
    return Optional.of(symbol)
        .filter(s -> s.address() != 0)
        .map(s -> bind(s, result, arguments))
        .orElseThrow(() -> new UnsupportedOperationException("the CPU's library has no " + name));
  }

  private static MethodHandle bind(
      MemorySegment symbol, MemoryLayout result, MemoryLayout... arguments) {
    return Linker.nativeLinker()
        .downcallHandle(
            symbol,
            result == null
                ? FunctionDescriptor.ofVoid(arguments)
                : FunctionDescriptor.of(result, arguments));
  }

  private MemorySegment text(Path path) {
    return arena.allocateFrom(path.toString());
  }

  private static void check(int status, String name) {
    if (status != 0) {
      throw new IllegalStateException(name + " returned " + status);
    }
  }
}
