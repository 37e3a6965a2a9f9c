package org.nanomodel.quantize;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Ops;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;

/**
 * The largest |x| of each input channel of each linear of the blocks over calibration texts, as the
 * float model makes them: what SmoothQuant knows of activations. A file of them is safetensors, one
 * F32 [K] under the name of each module, as the method's authors name them.
 */
public final class ActivationScales {
  private final Map<String, float[]> largest;

  private ActivationScales(Map<String, float[]> largest) {
    this.largest = largest;
  }

  /**
   * Runs the texts through the float model, block by block.
   *
   * @param folder for hidden states, if they are not to be held in memory
   */
  public static ActivationScales collect(
      ModelDirectory source, Calibration calibration, Ops ops, Optional<Path> folder) {
    var model = source.config();
    Map<String, float[]> largest = new LinkedHashMap<>();
    var stage = new BlockStage(ops, model, TextChunks.of(calibration), folder);
    try (var path = new FloatPath(source, ops, stage)) {
      for (int layer = 0; layer < model.layers(); layer++) {
        var states = path.states(layer);
        try (var block = path.load(layer);
            var walk = new BlockWalk(stage, block, states)) {
          var linears = block.linears();
          var stats = linears.stream().map(l -> new ActivationStats(l.k())).toList();
          var inputs = new ArrayList<BlockWalk.Inputs>();
          stats.forEach(s -> inputs.add((chunk, x) -> s.add(x)));
          walk.inputs(linears.stream().map(List::of).toList(), inputs);
          for (int i = 0; i < linears.size(); i++) {
            for (String module : linears.get(i).modules()) {
              largest.put(module, stats.get(i).max());
            }
          }
          if (layer < model.layers() - 1) {
            path.pass(walk);
          }
        }
      }
    }
    return new ActivationScales(largest);
  }

  /** Reads what {@link #write} wrote. */
  public static ActivationScales read(Path file) {
    Map<String, float[]> largest = new LinkedHashMap<>();
    try (var stored = SafetensorsFile.open(file)) {
      for (var tensor : stored.tensors()) {
        if (tensor.dtype() != DType.F32 || tensor.rank() != 1) {
          throw new BadModelException(
              file + ": tensor " + tensor + " is no vector of F32, as activation scales are");
        }
        largest.put(
            tensor.name(), stored.segment(tensor.name()).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED));
      }
      return new ActivationScales(largest);
    } catch (SafetensorsException e) {
      throw new BadModelException(file + ": " + e.getMessage(), e);
    }
  }

  /** Writes a file, whole or not at all. */
  public void write(Path file) {
    var specs = new ArrayList<TensorSpec>();
    largest.forEach((name, scales) -> specs.add(new TensorSpec(name, DType.F32, scales.length)));
    try (var writer = SafetensorsWriter.create(file, specs)) {
      for (var spec : specs) {
        writer.put(spec.name(), MemorySegment.ofBuffer(bytes(largest.get(spec.name()))));
      }
      writer.finish();
    } catch (SafetensorsException e) {
      throw new NanoModelException(e.getMessage(), e);
    }
  }

  /** The modules that there are scales for. */
  public Set<String> modules() {
    return Collections.unmodifiableSet(largest.keySet());
  }

  /** Of a module's input; a module that is not there, or has another K, is refused. */
  float[] of(String module, long k) {
    float[] scales = largest.get(module);
    if (scales == null || scales.length != k) {
      throw new BadModelException(
          "activation scales of "
              + module
              + ": "
              + (scales == null ? "there are none" : "there are " + scales.length)
              + ", expected "
              + k
              + "; collect them from this model");
    }
    return scales.clone();
  }

  /** Equal where the scales are. */
  String sha256() {
    var digest = DurableFiles.sha256();
    largest.forEach((name, scales) -> {
      digest.update(name.getBytes(StandardCharsets.UTF_8));
      digest.update(bytes(scales));
    });
    return DurableFiles.hex(digest);
  }

  private static ByteBuffer bytes(float[] values) {
    var bytes = ByteBuffer.allocateDirect(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes;
  }
}
