package org.nanomodel.quantize;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.Version;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.checkpoint.CheckpointScheme;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.json.JsonFile;
import org.nanomodel.model.Config;
import org.nanomodel.model.ModuleTree;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;

/**
 * What a job is going to do, from the headers alone.
 *
 * @param layers the blocks in order, each with the modules to quantize; the head, if any, is one
 *     more
 * @param skipped linears that {@code dynamic} leaves in float
 * @param matches what each key of {@code dynamic} decides about
 * @param warnings what may surprise the user, or other readers of the checkpoint
 * @param bytes of all tensors of the checkpoint
 * @param quantizedBytes of qweight, qzeros, scales and g_idx
 * @param parameters of the whole model
 * @param quantizedParameters of the modules to quantize
 */
public record QuantizePlan(
    List<Layer> layers,
    List<String> skipped,
    Map<String, List<String>> matches,
    List<String> warnings,
    long bytes,
    long quantizedBytes,
    long parameters,
    long quantizedParameters) {

  /** The modules of one block. */
  public record Layer(int number, List<Module> modules) {}

  /**
   * A module W[n,k] and how it is quantized.
   *
   * @param scaleType to which its scales are rounded, and in which they are written
   * @param tensors what it becomes
   */
  public record Module(
      String name,
      long n,
      long k,
      ModuleScheme scheme,
      DataType scaleType,
      List<TensorSpec> tensors) {}

  /** How the checkpoint will describe itself. */
  public CheckpointScheme scheme(QuantizeConfig config) {
    var meta = JsonFile.object();
    meta.putArray("quantizer").add(Version.QUANTIZER);
    meta.put("algorithm", config.method().value());
    config.describe(meta);
    Map<String, ModuleScheme> modules = new LinkedHashMap<>();
    modules().forEach(m -> modules.put(m.name(), m.scheme()));
    return new CheckpointScheme(
        config.format(),
        config.defaults(),
        config.lmHead(),
        config.dynamic().without("adapter"),
        modules,
        skipped,
        meta);
  }

  /** Bytes of the adapters; 0 = none. They are no part of {@link #bytes}. */
  public long adapterBytes(QuantizeConfig config) {
    return modules().stream().mapToLong(m -> 2 * Eora.rank(config, m) * (m.n() + m.k())).sum();
  }

  /** Bits per weight of the quantized modules, with scales, zeros and g_idx. */
  public double bpw() {
    return 8.0 * quantizedBytes / quantizedParameters;
  }

  /** Bits per weight of the whole model. */
  public double bpwModel() {
    return 8.0 * bytes / parameters;
  }

  /** All modules to quantize, in order. */
  public List<Module> modules() {
    return layers.stream().flatMap(layer -> layer.modules().stream()).toList();
  }

  /** Plans; a model that is quantized already, and a scheme that cannot be written, are refused. */
  public static QuantizePlan of(ModelDirectory source, QuantizeConfig config) {
    source
        .quantization()
        .ifPresent(q -> {
          throw new NanoModelException(
              source.path()
                  + " is quantized already ("
                  + q
                  + "): quantize the float model, or convert it to float16 first");
        });
    return new Planner(source, config).plan();
  }

  private static final class Planner {
    private final ModelDirectory source;
    private final QuantizeConfig config;
    private final Codec codec;
    private final Config model;
    private final ModuleTree tree;
    private final boolean unties;
    private final List<String> skipped = new ArrayList<>();
    private final Map<String, List<String>> refused = new LinkedHashMap<>(); // reasons, modules

    Planner(ModelDirectory source, QuantizeConfig config) {
      this.source = source;
      this.config = config;
      this.codec = Codec.of(config.format());
      this.model = source.config();
      this.tree = model.tree();
      this.unties = config.lmHead() && model.tiedEmbeddings();
    }

    QuantizePlan plan() {
      var layers = new ArrayList<Layer>();
      IntStream.range(0, model.layers()).forEach(i -> layers.add(layer(i, tree.linears(i))));
      if (config.lmHead()) {
        layers.add(layer(model.layers(), List.of(tree.head())));
      }
      requireNoneRefused();
      var modules = layers.stream().flatMap(l -> l.modules().stream()).toList();
      if (modules.isEmpty()) {
        throw new NanoModelException(
            "dynamic leaves all modules of " + source.path() + " in float");
      }
      long total = source.tensors().stream().mapToLong(TensorInfo::byteSize).sum();
      long replaced =
          modules.stream()
              .flatMap(m -> source.find(m.name() + ".weight").stream())
              .mapToLong(TensorInfo::byteSize)
              .sum();
      long added =
          modules.stream()
              .filter(m -> source.find(m.name() + ".weight").isEmpty())
              .mapToLong(m -> m.n() * m.k())
              .sum();
      long quantized =
          modules.stream().flatMap(m -> m.tensors().stream()).mapToLong(TensorSpec::byteSize).sum();
      return new QuantizePlan(
          List.copyOf(layers),
          List.copyOf(skipped),
          matches(),
          warnings(modules),
          total - replaced + quantized,
          quantized,
          source.tensors().stream().mapToLong(TensorInfo::elements).sum() + added,
          modules.stream().mapToLong(m -> m.n() * m.k()).sum());
    }

    private Layer layer(int number, List<String> names) {
      var modules = new ArrayList<Module>();
      for (String name : names) {
        TensorInfo weight = weight(name);
        Optional<ModuleScheme> scheme = config.scheme(name);
        scheme.ifPresentOrElse(s -> modules.add(module(name, weight, s)), () -> skipped.add(name));
      }
      return new Layer(number, List.copyOf(modules));
    }

    private Module module(String name, TensorInfo weight, ModuleScheme scheme) {
      boolean transposed = source.isTransposed(name);
      long n = weight.dim(transposed ? 1 : 0);
      long k = weight.dim(transposed ? 0 : 1);
      var refusal = codec.refusal(n, k, scheme);
      if (refusal.isPresent()) {
        String shape = name + " [" + n + ", " + k + "]";
        refused.computeIfAbsent(refusal.get(), why -> new ArrayList<>()).add(shape);
        return new Module(name, n, k, scheme, DataType.F32, List.of());
      }
      DataType type = DataType.ofName(weight.dtype().name()).orElse(DataType.F32);
      DataType scaleType = codec.scaleType(type, scheme);
      return new Module(name, n, k, scheme, scaleType, codec.specs(name, n, k, scheme, scaleType));
    }

    /** All that do not fit at once, and what to type to go on without them. */
    private void requireNoneRefused() {
      if (refused.isEmpty()) {
        return;
      }
      var all = refused.values().stream().flatMap(List::stream).toList();
      String kinds =
          all.stream()
              .map(shape -> shape.substring(0, shape.indexOf(' ')))
              .map(name -> name.substring(name.lastIndexOf('.') + 1))
              .distinct()
              .collect(Collectors.joining("|"));
      var first = refused.entrySet().iterator().next();
      throw new NanoModelException(
          "module "
              + Codec.several(all)
              + " cannot be written in format "
              + config.format()
              + ": "
              + first.getKey()
              + "; to leave them in float: dynamic {\"-:.*("
              + kinds
              + ")\": {}}");
    }

    /** Of a tied head, that of the embedding. */
    private TensorInfo weight(String module) {
      String holder = unties && module.equals(tree.head()) ? tree.embedding() : module;
      TensorInfo weight =
          source
              .find(holder + ".weight")
              .orElseThrow(() ->
                  new BadModelException(
                      source.path() + ": tensor '" + holder + ".weight' is missing"));
      if (weight.rank() != 2 || weight.elements() == 0) {
        throw new BadModelException(
            source.path() + ": tensor " + weight + " is no matrix [N, K] that could be quantized");
      }
      return weight;
    }

    private Map<String, List<String>> matches() {
      return config.dynamic().matched(linears());
    }

    private List<String> warnings(List<Module> modules) {
      var warnings = new ArrayList<String>();
      config
          .dynamic()
          .unmatched(linears())
          .forEach(key -> warnings.add("dynamic key \"" + key + "\" decides about no module"));
      Map<String, List<String>> cautions = new LinkedHashMap<>();
      for (Module m : modules) {
        for (String caution : codec.cautions(m.n(), m.k(), m.scheme())) {
          cautions.computeIfAbsent(caution, c -> new ArrayList<>()).add(m.name());
        }
      }
      if (unties && modules.stream().anyMatch(m -> m.name().equals(tree.head()))) {
        warnings.add(
            tree.head()
                + " is the embedding itself, which stays in float: the quantized head is written"
                + " beside it, and tie_word_embeddings becomes false");
      }
      AdapterDirectory.find(source.path())
          .ifPresent(adapter -> warnings.add("the adapter in " + adapter + " is left out"));
      cautions.forEach((what, of) -> warnings.add(Codec.several(of) + " " + what));
      for (Layer layer : fusedDifferently(modules)) {
        warnings.add(
            "layer "
                + layer.number()
                + ": modules that share an input have different bits or groups; vLLM, which fuses"
                + " them, refuses that");
      }
      return List.copyOf(warnings);
    }

    private List<String> linears() {
      var names = new ArrayList<>(tree.linears(model).toList());
      if (config.lmHead()) {
        names.add(tree.head());
      }
      return names;
    }

    private List<Layer> fusedDifferently(List<Module> modules) {
      var byName = new HashMap<String, ModuleScheme>();
      modules.forEach(m -> byName.put(m.name(), m.scheme()));
      return IntStream.range(0, model.layers())
          .filter(i ->
              tree.groups().stream()
                  .anyMatch(
                      g -> tree.modules(i, g).stream().map(byName::get).distinct().count() > 1))
          .mapToObj(i -> new Layer(i, List.of()))
          .toList();
    }
  }
}
