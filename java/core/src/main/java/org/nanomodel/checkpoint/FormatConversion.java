package org.nanomodel.checkpoint;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.WritableByteChannel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.BooleanSupplier;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.Tensor;

/**
 * A quantized checkpoint in another format, without loss: reading the result gives the codes,
 * zeros, scales and groups of the source. Every module is decoded and looked at before anything is
 * written; what the format cannot hold is refused with the reason. Float tensors stay as they are.
 */
public final class FormatConversion {
  private final ModelDirectory source;
  private final Ops ops;
  private final Codec codec;
  private final BooleanSupplier cancelled;
  private final Map<String, ConvertedModule> modules = new LinkedHashMap<>();

  private FormatConversion(
      ModelDirectory source, Engine engine, Format to, BooleanSupplier cancelled) {
    this.source = source;
    this.ops = engine.ops();
    this.codec = Codec.of(to);
    this.cancelled = cancelled;
  }

  /**
   * Converts {@code source} into a new directory; something else there is refused unless {@code
   * overwrite}.
   */
  public static ConversionResult convert(
      ModelDirectory source,
      Engine engine,
      Format to,
      Path output,
      long maxShardBytes,
      boolean overwrite,
      BooleanSupplier cancelled) {
    source.requireReadable();
    if (source.quantization().isEmpty()) {
      throw new NanoModelException(
          source.path()
              + " is a float model, which no conversion makes integers of: quantize it into format "
              + to);
    }
    var target = OutputDirectory.of(output, source);
    if (!overwrite) {
      target.requireFree();
    }
    var conversion = new FormatConversion(source, engine, to, cancelled);
    conversion.look();
    return conversion.write(target, maxShardBytes);
  }

  /** Decodes every module and finds out whether the format holds it. */
  private void look() {
    for (String module : source.quantizedModules()) {
      if (cancelled.getAsBoolean()) {
        throw new CancelledException("cancelled while reading " + source.path());
      }
      try (var scratch = Arena.ofConfined()) {
        modules.put(module, ConvertedModule.of(source, scratch, ops, codec, module));
      }
    }
    if (modules.isEmpty()) {
      throw new NanoModelException(source.path() + " has no quantized module");
    }
    boolean sym = modules.values().stream().allMatch(m -> m.scheme().sym());
    boolean ordered = modules.values().stream().anyMatch(m -> m.scheme().descAct());
    modules.replaceAll((name, m) -> m.with(sym, ordered)); // readers ask once for the whole model
  }

  private ConversionResult write(OutputDirectory target, long maxShardBytes) {
    Path staging = target.temporary();
    try (var packer = new Packer()) {
      var entries = entries(packer);
      target.requireSpace(entries.stream().mapToLong(entry -> entry.spec().byteSize()).sum());
      var config = source.configJson();
      config.remove("quantization_config");
      config.remove("quantization");
      var stated = ConvertedScheme.of(source, codec.format(), modules).describe(config);
      long bytes =
          CheckpointWriter.write(
              staging, source, entries, config, stated, maxShardBytes, cancelled);
      AdapterDirectory.copy(source.path(), staging);
      target.publish(staging);
      String from = source.quantization().orElseThrow().format();
      return new ConversionResult(from, codec.format().value(), bytes, true, warnings());
    } finally {
      DurableFiles.deleteTree(staging);
    }
  }

  private List<CheckpointWriter.Entry> entries(Packer packer) {
    Set<String> quantized = new HashSet<>(modules.keySet());
    var entries = new ArrayList<CheckpointWriter.Entry>();
    for (TensorInfo tensor : source.tensors()) {
      String name = tensor.name();
      String module = name.substring(0, Math.max(0, name.lastIndexOf('.')));
      boolean part = quantized.contains(module) && !name.endsWith(".bias");
      if (!part) {
        entries.add(CheckpointWriter.Entry.copy(source, tensor));
      } else if (source.isMark(name)) {
        List<TensorSpec> specs = modules.get(module).specs(codec, module);
        for (int i = 0; i < specs.size(); i++) {
          int number = i;
          entries.add(
              new CheckpointWriter.Entry(specs.get(i), out -> packer.write(module, number, out)));
        }
      }
    }
    return entries;
  }

  private List<String> warnings() {
    Map<String, List<String>> cautions = new LinkedHashMap<>();
    modules.forEach((name, m) ->
        codec
            .cautions(m.n(), m.k(), m.scheme())
            .forEach(c -> cautions.computeIfAbsent(c, x -> new ArrayList<>()).add(name)));
    return cautions.entrySet().stream()
        .map(e -> Codec.several(e.getValue()) + " " + e.getKey())
        .toList();
  }

  /** Packs a module when its first tensor is written, and keeps it until the next one's turn. */
  private final class Packer implements AutoCloseable {
    private String module;
    private Arena arena;
    private List<Tensor> tensors;

    void write(String name, int number, WritableByteChannel out) throws IOException {
      if (!name.equals(module)) {
        close();
        pack(name);
      }
      MemorySegment data = tensors.get(number).segment();
      CheckpointWriter.writeInPieces(data, out);
    }

    private void pack(String name) {
      arena = Arena.ofConfined();
      module = name;
      try (var scratch = Arena.ofConfined()) {
        ConvertedModule m = modules.get(name);
        StoredWeight weight = ConvertedModule.read(source, scratch, codec, name);
        tensors = codec.pack(arena, ops, name, weight, m.scheme(), m.scaleType());
      }
    }

    @Override
    public void close() {
      if (arena != null) {
        arena.close();
        arena = null;
        module = null;
      }
    }
  }
}
