package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModelException;
import org.nanomodel.NativeException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.OutputDirectory;
import org.nanomodel.events.QuantizeLayerEvent;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Ops;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.quantize.QuantizeListener.Progress;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Quantizes a model layer by layer into a checkpoint. One module's floats and one layer's codes are
 * in memory, whatever the size of the model. Each finished layer goes to the disk at once, into
 * {@code OUTPUT.job} beside the output; a job that was killed goes on from there, and its
 * checkpoint is equal to that of an undisturbed run, byte by byte (but for the times in
 * quant_log.csv). The checkpoint appears under its name only when it is whole.
 */
public final class QuantizeJob {
  private static final String JOB_SUFFIX = ".job";

  private final ModelDirectory source;
  private final QuantizeConfig config;
  private final Engine engine;
  private final OutputDirectory output;
  private long maxShardBytes = CheckpointWriter.DEFAULT_SHARD_BYTES;
  private boolean overwrite;
  private boolean restart;
  private Cancel cancel = new Cancel();
  private QuantizeListener listener = QuantizeListener.NONE;

  private QuantizePlan plan;
  private long began;
  private long weightsDone;
  private long weightsResumed;

  private QuantizeJob(ModelDirectory source, QuantizeConfig config, Engine engine, Path output) {
    this.source = source;
    this.config = config;
    this.engine = engine;
    this.output = OutputDirectory.of(output, source);
  }

  /** A job to be run once; the engine stays the caller's. */
  public static QuantizeJob of(
      ModelDirectory source, QuantizeConfig config, Engine engine, Path output) {
    return new QuantizeJob(source, config, engine, output);
  }

  /** Above this many bytes of tensors the checkpoint is cut into shards. */
  public QuantizeJob maxShardBytes(long bytes) {
    if (bytes < 1) {
      throw new NanoModelException(
          "max_shard_size " + bytes + ": expected a positive number of bytes");
    }
    this.maxShardBytes = bytes;
    return this;
  }

  /** Replaces a checkpoint that lies in the output; without it, one of another job is refused. */
  public QuantizeJob overwrite(boolean value) {
    this.overwrite = value;
    return this;
  }

  /** Forgets the layers that an earlier run finished. */
  public QuantizeJob restart(boolean value) {
    this.restart = value;
    return this;
  }

  public QuantizeJob cancel(Cancel value) {
    this.cancel = value;
    return this;
  }

  public QuantizeJob listener(QuantizeListener value) {
    this.listener = value;
    return this;
  }

  /** What would be done, from the headers alone. */
  public QuantizePlan plan() {
    if (plan == null) {
      plan = QuantizePlan.of(source, config);
    }
    return plan;
  }

  /**
   * Does it, or finds that it is done already. Cancelled or killed, it can be run again and goes
   * on.
   */
  public QuantizeResult run() {
    began = System.nanoTime();
    plan();
    var fingerprint = Fingerprint.of(source, config, engine.tier(), maxShardBytes);
    var finished = FinishedJob.find(output, source, fingerprint);
    if (finished.isPresent() && !restart) {
      JobDirectory.discardLeftover(output.beside(JOB_SUFFIX));
      return result(finished.get().modules(), true);
    }
    if (finished.isEmpty() && !overwrite) {
      FinishedJob.refuseOther(output, fingerprint);
    }
    output.requireSpace(0);
    listener.planned(plan);
    try (var job = JobDirectory.open(output.beside(JOB_SUFFIX), fingerprint, restart)) {
      output.requireSpace(Math.max(0, plan.quantizedBytes() - job.bytes()) + plan.bytes());
      var results = new ArrayList<ModuleResult>();
      for (var layer : plan.layers()) {
        results.addAll(run(job, layer));
      }
      listener.assembling(progress(plan.layers().size() - 1));
      new Assembly(source, config, plan, job).write(fingerprint, results, maxShardBytes, cancel);
      output.publish(job.staging());
      job.discard();
      return result(results, false);
    }
  }

  private QuantizeResult result(List<ModuleResult> modules, boolean alreadyDone) {
    return new QuantizeResult(
        source.path(),
        output.path(),
        config,
        alreadyDone,
        plan.bpw(),
        plan.bpwModel(),
        plan.bytes(),
        secondsSince(began),
        PeakMemory.bytes(),
        List.copyOf(modules));
  }

  private List<ModuleResult> run(JobDirectory job, QuantizePlan.Layer layer) {
    Optional<List<ModuleResult>> earlier = job.finished(layer.number());
    if (earlier.isPresent()) {
      weightsDone += weights(layer);
      weightsResumed += weights(layer);
      listener.layerResumed(layer.number(), progress(layer.number()));
      return earlier.get();
    }
    var event = new QuantizeLayerEvent();
    event.begin();
    var results = new ArrayList<ModuleResult>();
    try (var arena = Arena.ofConfined()) {
      Map<TensorSpec, Tensor> tensors = new LinkedHashMap<>();
      for (var module : layer.modules()) {
        if (cancel.isRaised()) {
          throw new CancelledException(
              "cancelled in layer " + layer.number() + "; run again to go on, " + output.path());
        }
        results.add(quantize(arena, layer.number(), module, tensors));
        weightsDone += module.n() * module.k();
        listener.moduleFinished(results.getLast(), progress(layer.number()));
      }
      job.finish(layer.number(), tensors, results);
    }
    record(event, layer, results);
    listener.layerFinished(layer.number(), progress(layer.number()));
    return results;
  }

  private void record(
      QuantizeLayerEvent event, QuantizePlan.Layer layer, List<ModuleResult> results) {
    event.end();
    if (event.shouldCommit()) {
      event.output = output.path().toString();
      event.layer = layer.number();
      event.modules = results.size();
      event.weights = weights(layer);
      event.loss = results.stream().mapToDouble(ModuleResult::loss).max().orElse(0);
      event.commit();
    }
  }

  /** Quantizes one module; only its packed tensors outlive the call. */
  private ModuleResult quantize(
      Arena layer, int number, QuantizePlan.Module module, Map<TensorSpec, Tensor> tensors) {
    long start = System.nanoTime();
    Ops ops = engine.ops(cancel);
    try (var scratch = Arena.ofConfined()) {
      Tensor w = floats(scratch, ops, module);
      QuantizedWeight q = Rtn.quantize(scratch, ops, w, module.scheme(), module.scaleType());
      double loss = Rtn.relativeError(ops, w, q);
      source.release(module.name() + ".weight");
      var parts =
          Codec.of(config.format())
              .pack(layer, ops, module.name(), q, module.scheme(), module.scaleType());
      for (int i = 0; i < parts.size(); i++) {
        tensors.put(module.tensors().get(i), parts.get(i));
      }
      return new ModuleResult(
          number,
          module.name(),
          module.scheme().bits(),
          module.scheme().groupSize(),
          loss,
          0,
          0,
          secondsSince(start));
    } catch (NativeException e) {
      if (e.code() != NativeException.ARGUMENT) {
        throw e;
      }
      throw new BadModelException(
          source.path()
              + ": tensor '"
              + module.name()
              + ".weight' cannot be quantized: "
              + e.getMessage(),
          e);
    }
  }

  private Tensor floats(Arena scratch, Ops ops, QuantizePlan.Module module) {
    var weight = (FloatWeight) source.linear(scratch, module.name());
    Tensor stored = Tensor.of(weight.type(), weight.data(), weight.n(), weight.k());
    if (weight.type() == DataType.F32) {
      return stored;
    }
    Tensor f32 = Tensor.allocate(scratch, DataType.F32, weight.n(), weight.k());
    ops.convert(f32, stored);
    return f32;
  }

  private static long weights(QuantizePlan.Layer layer) {
    return layer.modules().stream().mapToLong(m -> m.n() * m.k()).sum();
  }

  private Progress progress(int layer) {
    double seconds = secondsSince(began);
    long own = weightsDone - weightsResumed;
    double eta = own == 0 ? Double.NaN : seconds * (plan.quantizedParameters() - weightsDone) / own;
    return new Progress(
        layer,
        plan.layers().size(),
        (double) weightsDone / plan.quantizedParameters(),
        seconds,
        eta,
        PeakMemory.bytes());
  }

  private static double secondsSince(long nanos) {
    return (System.nanoTime() - nanos) / 1e9;
  }
}
