package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.nanomodel.Activations;
import org.nanomodel.CancelledException;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.OutputDirectory;
import org.nanomodel.events.QuantizeLayerEvent;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.Ops;
import org.nanomodel.quantize.QuantizeListener.Progress;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.Tensor;

/**
 * Quantizes a model layer by layer into a checkpoint. One layer is in memory, whatever the size of
 * the model. Each finished layer goes to the disk at once, into {@code OUTPUT.job} beside the
 * output; a job that was killed goes on from there, and its checkpoint is equal to that of an
 * undisturbed run, byte by byte (but for the times in quant_log.csv). The checkpoint appears under
 * its name only when it is whole.
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
  private boolean offload;
  private Optional<Path> offloadFolder = Optional.empty();
  private Optional<Calibration> calibration = Optional.empty();
  private Optional<ActivationScales> activations = Optional.empty();
  private Cancel cancel = new Cancel();
  private QuantizeListener listener = QuantizeListener.NONE;

  private final PhaseClock clock = new PhaseClock();
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

  /** The data of methods that need some; others do not look at it. */
  public QuantizeJob calibration(Calibration value) {
    this.calibration = Optional.ofNullable(value).filter(c -> config.isCalibrated());
    return this;
  }

  /**
   * What smoothing would else gather from calibration data; method smoothquant then needs no other.
   */
  public QuantizeJob activationScales(ActivationScales value) {
    this.activations = Optional.ofNullable(value).filter(s -> config.smooths());
    return this;
  }

  /**
   * Keeps the hidden states of the calibration in a file, which the system writes out when memory
   * is short.
   *
   * @param folder null = that of the job, beside the output
   */
  public QuantizeJob offloadToDisk(Path folder) {
    this.offload = true;
    this.offloadFolder = Optional.ofNullable(folder);
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

  /** About what it will need. */
  public QuantizeEstimate estimate() {
    return QuantizeEstimate.of(plan(), config, source.config(), calibration, offload, engine);
  }

  /** What sums are rounded by. */
  private String arithmetic() {
    return engine.activations() == Activations.AUTO
        ? engine.tier()
        : engine.tier() + ", activations " + engine.activations();
  }

  /**
   * Does it, or finds that it is done already. Cancelled or killed, it can be run again and goes
   * on.
   */
  public QuantizeResult run() {
    began = System.nanoTime();
    plan();
    boolean scalesAreAll = activations.isPresent() && config.method() == Method.SMOOTHQUANT;
    if (scalesAreAll) {
      calibration = Optional.empty();
    } else {
      requireCalibration();
    }
    var fingerprint =
        Fingerprint.of(source, config, calibration, activations, arithmetic(), maxShardBytes);
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
      output.requireSpace(
          Math.max(0, plan.quantizedBytes() - job.bytes())
              + plan.bytes()
              + plan.adapterBytes(config));
      var results = new ArrayList<ModuleResult>();
      try (var method = method(job)) {
        for (var layer : plan.layers()) {
          results.addAll(run(job, method, layer));
        }
      }
      listener.assembling(progress(plan.layers().size() - 1));
      long start = System.nanoTime();
      new Assembly(source, plan.scheme(config), plan, job)
          .write(fingerprint, results, maxShardBytes, cancel);
      output.publish(job.staging());
      job.discard();
      clock.since(start, PhaseClock.Phase.WRITE);
      listener.finished(clock.seconds());
      return result(results, false);
    }
  }

  private void requireCalibration() {
    if (config.isCalibrated() && calibration.isEmpty()) {
      throw new NanoModelException(
          (config.method().isCalibrated() ? "method " + config.method() : "an adapter")
              + " needs calibration data: rows of text or ids that the"
              + " model is run on");
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
        PhaseClock.secondsSince(began),
        PeakMemory.bytes(),
        List.copyOf(modules));
  }

  private LayerMethod method(JobDirectory job) {
    Ops ops = engine.ops(cancel);
    return switch (config.method()) {
      case GPTQ, GPTAQ, QQQ -> gptq(ops, job);
      case AWQ ->
          new AwqLayers(
              source, config, plan, calibration.orElseThrow(), ops, clock, statesFolder(job));
      case SMOOTHQUANT -> new SmoothLayers(source, smoothing(job, ops).orElseThrow(), ops, clock);
      default ->
          config.hasAdapter()
              ? gptq(ops, job) // which walks along, for the Gram matrices
              : new RtnLayers(new LayerFloats(source), ops, clock);
    };
  }

  /** Of methods that smooth, from scales that were given, or are gathered now. */
  private Optional<Smoothing> smoothing(JobDirectory job, Ops ops) {
    if (!config.smooths()) {
      return Optional.empty();
    }
    long start = System.nanoTime();
    var scales =
        activations.orElseGet(() ->
            ActivationScales.collect(source, calibration.orElseThrow(), ops, statesFolder(job)));
    clock.since(start, PhaseClock.Phase.FORWARD);
    boolean intoLinears = config.method() == Method.QQQ;
    return Optional.of(new Smoothing(source.config(), scales, config.alpha(), intoLinears));
  }

  private LayerMethod gptq(Ops ops, JobDirectory job) {
    return new GptqLayers(
        source,
        config,
        plan,
        plan.scheme(config),
        calibration.orElseThrow(),
        smoothing(job, ops),
        ops,
        clock,
        statesFolder(job));
  }

  private Optional<Path> statesFolder(JobDirectory job) {
    return offload ? Optional.of(offloadFolder.orElse(job.folder())) : Optional.empty();
  }

  private List<ModuleResult> run(JobDirectory job, LayerMethod method, QuantizePlan.Layer layer) {
    Optional<List<ModuleResult>> earlier = job.finished(layer.number());
    if (earlier.isPresent()) {
      weightsDone += weights(layer);
      weightsResumed += weights(layer);
      method.takeOver(layer, job.tensors(layer.number()));
      listener.layerResumed(layer.number(), progress(layer.number()));
      return earlier.get();
    }
    var event = new QuantizeLayerEvent();
    event.begin();
    var results = new ArrayList<ModuleResult>();
    try (var arena = Arena.ofConfined()) {
      Map<TensorSpec, Tensor> tensors = new LinkedHashMap<>();
      requireNotCancelled(layer.number());
      method.quantize(layer, into(arena, layer.number(), results, tensors));
      long start = System.nanoTime();
      job.finish(layer.number(), tensors, results);
      clock.since(start, PhaseClock.Phase.WRITE);
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

  /**
   * The sink of a layer: packs, tells the listener, and ends the walk when the job is cancelled.
   */
  private LayerMethod.Sink into(
      Arena layer, int number, List<ModuleResult> results, Map<TensorSpec, Tensor> tensors) {
    Ops ops = engine.ops(cancel);
    return new LayerMethod.Sink() {
      @Override
      public void done(QuantizePlan.Module module, LayerMethod.Outcome outcome) {
        long start = System.nanoTime();
        var parts =
            Codec.of(config.format())
                .pack(
                    layer,
                    ops,
                    module.name(),
                    outcome.weight(),
                    module.scheme(),
                    module.scaleType());
        for (int i = 0; i < parts.size(); i++) {
          tensors.put(module.tensors().get(i), parts.get(i));
        }
        clock.since(start, PhaseClock.Phase.PACK);
        Engine.trimMemory(); // each module leaves holes of its own sizes
        results.add(outcome.result(number, module));
        weightsDone += module.n() * module.k();
        listener.moduleFinished(results.getLast(), progress(number));
        requireNotCancelled(number);
      }

      @Override
      public void put(TensorSpec name, Tensor tensor) {
        Tensor copy = Tensor.allocate(layer, tensor.type(), tensor.shape());
        copy.segment().copyFrom(tensor.segment().asSlice(0, name.byteSize()));
        tensors.put(name, copy);
      }
    };
  }

  private void requireNotCancelled(int layer) {
    if (cancel.isRaised()) {
      throw new CancelledException(
          "cancelled in layer " + layer + "; run again to go on, " + output.path());
    }
  }

  private static long weights(QuantizePlan.Layer layer) {
    return layer.modules().stream().mapToLong(m -> m.n() * m.k()).sum();
  }

  private Progress progress(int layer) {
    double seconds = PhaseClock.secondsSince(began);
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
}
