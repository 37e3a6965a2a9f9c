package org.nanomodel.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.nanomodel.BadModelException;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Config;
import org.nanomodel.model.ForwardingWeights;
import org.nanomodel.model.Weights;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.LowRank;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * A low-rank adapter as PEFT keeps it: adapter_config.json, and in adapter_model.safetensors {@code
 * base_model.model.MODULE.lora_A.weight} [R, K] and {@code lora_B.weight} [N, R]. What it holds
 * beyond that, and this version would leave out, is refused by name.
 */
public final class AdapterDirectory implements AutoCloseable {
  /** Where a checkpoint of ours keeps its own. */
  public static final String FOLDER = "adapter";

  static final String CONFIG = "adapter_config.json";
  static final String TENSORS = "adapter_model.safetensors";
  static final String PREFIX = "base_model.model.";

  private static final List<DataType> TYPES = List.of(DataType.F32, DataType.F16, DataType.BF16);
  private static final Pattern NAME =
      Pattern.compile("(?:base_model\\.model\\.)?(.+)\\.lora_[AB](?:\\.default)?\\.weight");

  private final Path path;
  private final StoredTensors stored;
  private final double alpha;
  private final DynamicOverrides alphas;
  private final boolean rankStabilized;

  private AdapterDirectory(Path path) {
    this.path = path;
    Path file = path.resolve(CONFIG);
    var config = JsonFields.of(file.toString(), JsonFile.read(file));
    refuseOthers(config);
    this.alpha = number(config, "lora_alpha").orElse(8.0);
    this.alphas = alphas(config);
    this.rankStabilized = config.bool("use_rslora", false);
    if (!Files.exists(path.resolve(TENSORS)) && Files.exists(path.resolve("adapter_model.bin"))) {
      throw new UnsupportedModelException(
          path.resolve("adapter_model.bin")
              + ": this version reads safetensors files only; save the adapter as safetensors");
    }
    this.stored = StoredTensors.open(path.resolve(TENSORS));
  }

  /** Opens a folder; its file stays open until {@link #close}. */
  public static AdapterDirectory open(Path folder) {
    var opened = new AdapterDirectory(folder);
    try {
      opened.modules();
      return opened;
    } catch (RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  /** The adapter that lies in a model's folder, if one does. */
  public static Optional<Path> find(Path model) {
    return List.of(model.resolve(FOLDER), model).stream()
        .filter(folder -> Files.exists(folder.resolve(CONFIG)))
        .findFirst();
  }

  /** Copies the adapter that lies in a model's folder, if one does, into that of a checkpoint. */
  static void copy(Path model, Path checkpoint) {
    Optional<Path> found = find(model);
    if (found.isPresent()) {
      Path folder = checkpoint.resolve(FOLDER);
      try {
        Files.createDirectories(folder);
      } catch (IOException e) {
        throw DurableFiles.failed("create", folder, e);
      }
      DurableFiles.copy(found.get().resolve(TENSORS), folder.resolve(TENSORS));
      DurableFiles.copy(found.get().resolve(CONFIG), folder.resolve(CONFIG));
    }
  }

  /** Removes the adapter of a checkpoint: weights that take the place of its own have none. */
  static void delete(Path checkpoint) throws IOException {
    Path folder = checkpoint.resolve(FOLDER);
    Files.deleteIfExists(folder.resolve(CONFIG));
    Files.deleteIfExists(folder.resolve(TENSORS));
  }

  private static void refuseOthers(JsonFields config) {
    String kind = config.text("peft_type").orElse("LORA");
    if (!kind.equals("LORA")) {
      throw new UnsupportedModelException(
          config.file()
              + ": peft_type "
              + Escaped.of(kind)
              + ": this version runs LORA adapters only");
    }
    for (String flag : List.of("use_dora", "lora_bias")) {
      if (config.bool(flag, false)) {
        throw new UnsupportedModelException(
            config.file() + ": " + flag + ": this version runs plain LORA adapters only");
      }
    }
    if (!config.text("bias").orElse("none").equals("none")
        || !config.node().path("modules_to_save").isEmpty()
        || !config.node().path("layer_replication").isEmpty()) {
      throw new UnsupportedModelException(
          config.file()
              + ": bias, modules_to_save or layer_replication: the adapter changes more than this"
              + " version applies; merge it into its model first");
    }
  }

  private static Optional<Double> number(JsonFields config, String name) {
    var value = config.node().path(name);
    if (value.isMissingNode() || value.isNull()) {
      return Optional.empty();
    }
    if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw config.bad(name, value, "a number");
    }
    return Optional.of(value.doubleValue());
  }

  /** alpha_pattern: the first key that a module's path ends with, as a regular expression. */
  private static DynamicOverrides alphas(JsonFields config) {
    var rules = JsonFile.object();
    config
        .object("alpha_pattern")
        .ifPresent(pattern ->
            pattern
                .node()
                .properties()
                .forEach(e -> {
                  if (!e.getValue().isNumber()) {
                    throw config.bad("alpha_pattern", e.getValue(), "a number");
                  }
                  String key = "(?:.*\\.)?(?:" + e.getKey() + ")$";
                  rules.putObject(key).set("alpha", e.getValue());
                }));
    return DynamicOverrides.parse(rules, config.file() + " alpha_pattern");
  }

  /** The modules that it changes. */
  public Set<String> modules() {
    var names = new LinkedHashSet<String>();
    for (TensorInfo tensor : stored.all()) {
      Matcher m = NAME.matcher(tensor.name());
      if (!m.matches()) {
        throw new UnsupportedModelException(
            stored.where(tensor.name())
                + ": expected lora_A.weight and lora_B.weight of linear modules only");
      }
      names.add(m.group(1));
    }
    return names;
  }

  /** Bytes of its tensors. */
  public long bytes() {
    return stored.all().stream().mapToLong(TensorInfo::byteSize).sum();
  }

  /** The weights of a model with this adapter; a module that the model lacks is refused. */
  public Weights over(Weights base, Config config) {
    var linears = new HashSet<>(config.tree().linears(config).toList());
    linears.add(config.tree().head());
    for (String module : modules()) {
      if (!linears.contains(module)) {
        throw new BadModelException(
            path
                + ": the adapter changes "
                + Escaped.of(module)
                + ", which is no linear module of the model: is it one of another model?");
      }
    }
    return new Adapted(base, this);
  }

  private Optional<LowRank> lowRank(Arena arena, String module) {
    Optional<String> a = name(module, "A");
    Optional<String> b = name(module, "B");
    if (a.isEmpty() && b.isEmpty()) {
      return Optional.empty();
    }
    if (a.isEmpty() || b.isEmpty()) {
      throw new BadModelException(path + ": the adapter has only one of A and B of " + module);
    }
    FloatWeight down = matrix(arena, a.get(), -1, -1);
    if (down.n() == 0) {
      throw new BadModelException(path + ": the adapter of " + module + " has rank 0");
    }
    FloatWeight up = matrix(arena, b.get(), -1, down.n());
    return Optional.of(new LowRank(down, up, scale(module, down.n())));
  }

  private FloatWeight matrix(Arena arena, String name, long rows, long cols) {
    Tensor t = StoredTensors.aligned(arena, stored.in(arena).tensor(name, TYPES, rows, cols));
    return new FloatWeight(t.type(), t.rows(), t.cols(), t.segment());
  }

  private Optional<String> name(String module, String side) {
    for (String prefix : List.of(PREFIX, "")) {
      for (String suffix : List.of(".weight", ".default.weight")) {
        String name = prefix + module + ".lora_" + side + suffix;
        if (stored.has(name)) {
          return Optional.of(name);
        }
      }
    }
    return Optional.empty();
  }

  private float scale(String module, long rank) {
    var own = alphas.values(module).path("alpha");
    double a = own.isNumber() ? own.doubleValue() : alpha;
    float scale = (float) (a / (rankStabilized ? Math.sqrt(rank) : rank));
    if (!Float.isFinite(scale)) {
      throw new BadModelException(path + ": lora_alpha / rank of " + module + " is " + scale);
    }
    return scale;
  }

  @Override
  public void close() {
    stored.close();
  }

  private record Adapted(Weights base, AdapterDirectory adapter) implements ForwardingWeights {
    @Override
    public Optional<LowRank> adapter(Arena arena, String module) {
      return adapter.lowRank(arena, module);
    }
  }
}
