package org.nanomodel.checkpoint;

import static java.nio.charset.StandardCharsets.US_ASCII;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Config;
import org.nanomodel.model.ModelRegistry;
import org.nanomodel.model.ModuleTree;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.WeightData;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * A model as a directory holds it: config.json, safetensors files, and what they say about
 * quantization. Files are mapped; nothing is read before it is asked for. Segments it lends live
 * until {@link #close}.
 */
public final class ModelDirectory implements Weights, AutoCloseable {
  private static final List<DataType> PACKABLE = List.of(DataType.F32, DataType.F16, DataType.BF16);
  private static final List<DataType> FLOATS =
      List.of(
          DataType.F32,
          DataType.F16,
          DataType.BF16,
          DataType.F64,
          DataType.F8_E4M3,
          DataType.F8_E5M2);

  private final Path path;
  private final ObjectNode configJson;
  private final Optional<QuantizationConfig> quantization;
  private final Optional<ModuleTree> tree;
  private final StoredTensors stored;
  private final boolean ownsEngine;
  private Engine engine;

  private ModelDirectory(Path path, Engine engine) {
    this.path = path;
    this.engine = engine;
    this.ownsEngine = engine == null;
    this.configJson = JsonFile.read(path.resolve("config.json"));
    this.quantization = QuantizationConfig.find(path, configJson);
    this.tree =
        ModelRegistry.find(configJson.path("model_type").asText()).map(family -> family.tree());
    this.stored = StoredTensors.open(path);
  }

  /** Opens a directory; an engine of its own decodes integer weights, if any is asked for. */
  public static ModelDirectory open(Path directory) {
    return open(directory, null);
  }

  /**
   * Opens a directory whose integer weights are decoded by {@code engine}, which stays the
   * caller's.
   */
  public static ModelDirectory open(Path directory, Engine engine) {
    if (!Files.isDirectory(directory)) {
      throw new BadModelException(
          directory
              + (Files.exists(directory) ? " is not a directory" : " does not exist")
              + "; expected a directory with config.json and model.safetensors");
    }
    refuseOtherKinds(directory);
    return new ModelDirectory(directory, engine);
  }

  private static void refuseOtherKinds(Path directory) {
    boolean safetensors =
        Files.exists(directory.resolve("model.safetensors"))
            || Files.exists(directory.resolve("model.safetensors.index.json"));
    if (safetensors) {
      return;
    }
    try (var files = Files.list(directory)) {
      var names = files.map(file -> file.getFileName().toString()).sorted().toList();
      for (String name : names) {
        if (name.endsWith(".bin") && name.startsWith("pytorch_model") || name.endsWith(".gguf")) {
          throw new UnsupportedModelException(
              directory.resolve(name)
                  + ": this version reads safetensors files only; convert the model to safetensors"
                  + " first");
        }
      }
    } catch (IOException e) {
      throw DurableFiles.failed("read", directory, e);
    }
  }

  public Path path() {
    return path;
  }

  /** config.json as it is, unknown keys included. */
  public ObjectNode configJson() {
    return configJson.deepCopy();
  }

  /** config.json as a model reads it; an unknown architecture is refused. */
  public Config config() {
    return Config.load(path);
  }

  /** Empty for a float model. */
  public Optional<QuantizationConfig> quantization() {
    return quantization;
  }

  /** Refuses, by name, a quantization that this version cannot decode. */
  public void requireReadable() {
    quantization.ifPresent(QuantizationConfig::requireReadable);
  }

  /** All tensors of the files, as their headers describe them. */
  public List<TensorInfo> tensors() {
    return stored.all();
  }

  /** One of them. */
  public Optional<TensorInfo> find(String tensor) {
    return stored.find(tensor);
  }

  /** The safetensors files. */
  public List<Path> weightFiles() {
    return stored.paths();
  }

  /** SHA-256 over config.json and all weights: equal where the model is. Reads every byte. */
  public String sha256() {
    var digest = DurableFiles.sha256();
    var files = new ArrayList<Path>(weightFiles());
    files.add(path().resolve("config.json"));
    files.forEach(file -> digest.update(DurableFiles.sha256(file).getBytes(US_ASCII)));
    return DurableFiles.hex(digest);
  }

  /** The bytes of a tensor, as stored. */
  public MemorySegment bytes(String tensor) {
    return stored.bytes(tensor);
  }

  /** The names of the modules whose weights are integers, in the order of the files. */
  public List<String> quantizedModules() {
    String suffix = "." + mark();
    return stored.all().stream()
        .map(TensorInfo::name)
        .filter(name -> name.endsWith(suffix))
        .map(name -> name.substring(0, name.length() - suffix.length()))
        .toList();
  }

  /** Whether the float weight of a module is stored [K, N], as that of GPT-2's Conv1D. */
  public boolean isTransposed(String module) {
    return tree.filter(t -> t.isTransposed(module)).isPresent();
  }

  /** N of a quantized module, by its headers. */
  public long rows(String module) {
    return header(module).n();
  }

  /** K of a quantized module, by its headers. */
  public long columns(String module) {
    return header(module).k();
  }

  Codec.Header header(String module) {
    var config = requireQuantization(module);
    return Codec.of(config).header(stored, config, module);
  }

  /** A quantized module as it is stored. */
  StoredWeight stored(Arena arena, String module) {
    var config = requireQuantization(module);
    return Codec.of(config).read(arena, ops(), stored.in(arena), config, module);
  }

  /** Whether the weight of a module is integers, in the layout that the config names. */
  boolean isQuantized(String module) {
    return stored.has(module + "." + mark());
  }

  /** Whether a tensor is the one that tells that its module is quantized. */
  boolean isMark(String tensor) {
    return tensor.endsWith("." + mark());
  }

  private String mark() {
    return quantization
        .filter(q -> q.unsupported().isEmpty())
        .map(q -> Codec.of(q).mark())
        .orElse("qweight");
  }

  @Override
  public boolean has(String tensor) {
    return stored.has(tensor);
  }

  @Override
  public Tensor tensor(String name) {
    return tensor(stored, name);
  }

  @Override
  public Tensor tensor(Arena arena, String name) {
    return tensor(stored.in(arena), name);
  }

  private Tensor tensor(StoredTensors stored, String name) {
    String suffix = ".weight";
    if (name.endsWith(suffix)) {
      String module = name.substring(0, name.length() - suffix.length());
      if (isQuantized(module)) { // an embedding
        return floats(module);
      }
    }
    Tensor t = stored.tensor(name, FLOATS);
    return t.rank() < 2 ? StoredTensors.aligned(Arena.ofAuto(), t) : t;
  }

  private Tensor floats(String module) {
    try (var scratch = Arena.ofConfined()) {
      return stored(scratch, module).floats(Arena.ofAuto(), scratch, ops());
    }
  }

  @Override
  public WeightData linear(Arena arena, String module) {
    if (isQuantized(module)) {
      return stored(arena, module).weight(arena, ops());
    }
    requireReadable();
    Tensor weight = stored.in(arena).tensor(module + ".weight", FLOATS, -1, -1);
    Tensor usable =
        PACKABLE.contains(weight.type())
            ? StoredTensors.aligned(arena, weight)
            : toF32(arena, weight);
    usable = isTransposed(module) ? usable.transposed(arena) : usable;
    return new FloatWeight(usable.type(), usable.rows(), usable.cols(), usable.segment());
  }

  private QuantizationConfig requireQuantization(String module) {
    requireReadable();
    return quantization.orElseThrow(() ->
        new BadModelException(
            stored.where(module + "." + mark())
                + " is quantized, but there is neither quantize_config.json nor a"
                + " quantization_config in config.json to say how"));
  }

  @Override
  public Optional<MemorySegment> bias(Arena arena, String module) {
    return stored
        .in(arena)
        .find(module + ".bias", FLOATS, -1)
        .map(t ->
            (t.type() == DataType.F32 ? StoredTensors.aligned(arena, t) : toF32(arena, t))
                .segment());
  }

  private Tensor toF32(Arena arena, Tensor t) {
    Tensor f32 = Tensor.allocate(arena, DataType.F32, t.shape());
    ops().convert(f32, StoredTensors.aligned(arena, t));
    return f32;
  }

  private synchronized Ops ops() {
    if (engine == null) {
      engine = Engine.open();
    }
    return engine.ops();
  }

  @Override
  public synchronized void close() {
    stored.close();
    if (ownsEngine && engine != null) {
      engine.close();
    }
  }
}
