package org.nanomodel.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;
import org.nanomodel.Format;
import org.nanomodel.Method;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.ops.Engine;
import org.nanomodel.quantize.ModuleResult;
import org.nanomodel.quantize.QuantizeJob;
import org.nanomodel.quantize.QuantizeListener;
import org.nanomodel.quantize.QuantizePlan;
import org.nanomodel.quantize.QuantizeResult;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quantize}: writes a model with fewer bits a weight. */
@Command(
    name = "quantize",
    description =
        "Writes a model with fewer bits a weight. An interrupted run goes on where it was when it"
            + " is started again.",
    footer = {
      "  nanomodel quantize --model stories-qwen3 --bits 4 --output stories-rtn",
      "  nanomodel quantize --model stories-qwen3 --method gptq --bits 4 --group-size 64"
          + " --calibration stories-calib --output stories-gptq"
    })
final class Quantize extends Verb {
  @Mixin private ModelFlag model;

  @Option(
      names = {"-o", "--output"},
      required = true,
      paramLabel = "DIR",
      description = "The directory to write.")
  private Path output;

  @Option(
      names = "--method",
      paramLabel = "NAME",
      defaultValue = "rtn",
      description =
          "rtn: round to nearest, no data needed; gptq: errors are made up for by later weights, as"
              + " calibration data tells; awq: channels that matter to that data are scaled up"
              + " before rounding; smoothquant: large activations are scaled down; qqq: the same,"
              + " then gptq; gptaq: gptq that also makes up for what layers before have changed."
              + " Default: ${DEFAULT-VALUE}.")
  private String method;

  @Option(
      names = {"-b", "--bits"},
      paramLabel = "2|3|4|8",
      defaultValue = "4",
      description = "Bits of a weight. Default: ${DEFAULT-VALUE}.")
  private int bits;

  @Option(
      names = {"-g", "--group-size"},
      paramLabel = "N",
      defaultValue = "128",
      description = "Weights that share a scale; -1 = a whole row. Default: ${DEFAULT-VALUE}.")
  private long groupSize;

  @Option(
      names = "--sym",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description = "Symmetric: no zero points. Default.")
  private boolean sym;

  @Option(names = "--asym", description = "Asymmetric: a zero point for each group.")
  private boolean asym;

  @Option(
      names = "--format",
      paramLabel = "NAME",
      description =
          "gptq, gptq_v2, marlin, gemm, gemv, gemv_fast, qqq, compressed-tensors, int-quantized or"
              + " mlx. Default: gptq; with --asym gptq_v2; awq, 4 bits: gemm; qqq: qqq.")
  private String format;

  @Option(
      names = "--dynamic",
      paramLabel = "FILE|JSON",
      description =
          "Other settings for modules that a regular expression names, as checkpoints write them.")
  private String dynamic;

  @Option(names = "--lm-head", description = "Quantize the output head too.")
  private boolean lmHead;

  @Option(
      names = "--adapter-rank",
      paramLabel = "R",
      defaultValue = "0",
      description =
          "Give back a part of what quantizing takes by low-rank adapters of this rank (EoRA),"
              + " written into DIR/adapter; 16 to 128 as a rule. Needs --calibration. Default:"
              + " none.")
  private int adapterRank;

  @Mixin private MethodFlags flags;
  @Mixin private ShardFlag shards;

  @Option(names = "--overwrite", description = "Replace a model that is there.")
  private boolean overwrite;

  @Option(names = "--restart", description = "Forget what an interrupted run has done.")
  private boolean restart;

  @Option(names = "--dry-run", description = "Say what would come out, and do nothing.")
  private boolean dryRun;

  @Mixin private EngineFlags engine;

  private Map<String, Double> phases = Map.of();
  private long adapterBytes;

  @Override
  void run() throws IOException {
    QuantizeConfig config = config();
    try (Engine opened = Engine.open(engine.options());
        ModelDirectory source = ModelDirectory.open(model.resolve(environment()), opened)) {
      QuantizeJob job =
          QuantizeJob.of(source, config, opened, output)
              .maxShardBytes(shards.bytes(CheckpointWriter.DEFAULT_SHARD_BYTES))
              .overwrite(overwrite)
              .restart(restart)
              .cancel(console().cancel())
              .listener(new Watcher());
      flags.prepare(job, console(), config, source);
      preflight(job.plan());
      adapterBytes = job.plan().adapterBytes(config);
      job.plan().warnings().forEach(warning -> console().note("warning: %s", warning));
      budget(job);
      if (dryRun) {
        show(job.plan(), config);
      } else {
        show(job.run());
      }
    }
  }

  private void budget(QuantizeJob job) throws IOException {
    var needs = job.estimate();
    var disk = Files.getFileStore(existing(output.toAbsolutePath())).getUsableSpace();
    console()
        .note(
            "needs about %.0f MB of memory, %.0f MB of disk (%.0f MB are free), %.0f s",
            needs.memoryBytes() / 1e6, needs.diskBytes() / 1e6, disk / 1e6, needs.seconds());
  }

  private static Path existing(Path path) {
    return Files.exists(path) || path.getParent() == null ? path : existing(path.getParent());
  }

  /** What each pattern decides about, before hours are spent on a misspelt one. */
  private void preflight(QuantizePlan plan) {
    plan.matches()
        .forEach((key, modules) -> {
          String some = String.join(", ", modules.subList(0, Math.min(3, modules.size())));
          String more = modules.size() > 3 ? " and %d more".formatted(modules.size() - 3) : "";
          console()
              .note(
                  "dynamic %s: %d modules%s%s",
                  key, modules.size(), modules.isEmpty() ? "" : ": " + some, more);
        });
  }

  /** Whatever the configuration refuses was typed here: a usage error. */
  private QuantizeConfig config() throws IOException {
    try {
      QuantizeConfig.Builder builder =
          QuantizeConfig.builder()
              .method(Method.of(method))
              .bits(bits)
              .groupSize(groupSize)
              .sym(sym && !asym)
              .lmHead(lmHead)
              .adapterRank(adapterRank);
      flags.apply(builder, Method.of(method));
      if (format != null) {
        builder.format(Format.of(format));
      }
      if (dynamic != null) {
        builder.dynamic(dynamicJson());
      }
      return builder.build();
    } catch (NanoModelException e) {
      throw new UsageException(e.getMessage());
    }
  }

  private JsonNode dynamicJson() throws IOException {
    boolean inline = dynamic.strip().startsWith("{");
    try {
      return new ObjectMapper().readTree(inline ? dynamic : Files.readString(Path.of(dynamic)));
    } catch (JsonProcessingException e) {
      throw new UsageException("--dynamic is not JSON: " + e.getOriginalMessage());
    }
  }

  /** Progress, a line a layer. */
  private final class Watcher implements QuantizeListener {
    @Override
    public void layerResumed(int layer, Progress progress) {
      console().note("layer %d was done before", layer);
    }

    @Override
    public void finished(Map<String, Double> seconds) {
      phases = seconds;
    }

    @Override
    public void moduleFinished(ModuleResult module, Progress p) {
      module
          .fallback()
          .ifPresent(
              why -> console().note("warning: %s is rounded to nearest: %s", module.name(), why));
      console()
          .progress(
              "layer %d/%d  %3.0f %%  %s  loss %.3g, %d samples, damp %.3g  %.0f s, %s left, peak"
                  + " %.0f MB",
              p.layer() + 1,
              p.layers(),
              100 * p.fraction(),
              module.name(),
              module.loss(),
              module.samples(),
              module.damp(),
              p.seconds(),
              Double.isNaN(p.etaSeconds()) ? "?" : "%.0f s".formatted(p.etaSeconds()),
              p.peakRssBytes() / 1e6);
    }
  }

  private void show(QuantizeResult r) {
    if (r.alreadyDone()) {
      console().note("%s holds this job's result already; nothing done", r.output());
    }
    console()
        .print(
            "%s: %d modules, %.2f bits per quantized weight, %.1f MB, %.1f s",
            r.output(), r.modules().size(), r.bpw(), r.bytes() / 1e6, r.seconds());
    if (!phases.isEmpty()) {
      console()
          .note(
              "seconds: %s",
              phases.entrySet().stream()
                  .map(phase -> "%s %.1f".formatted(phase.getKey(), phase.getValue()))
                  .collect(Collectors.joining(", ")));
    }
    if (adapterBytes > 0) {
      console().print("with an adapter of %.1f MB in %s", adapterBytes / 1e6, adapterFolder());
    }
    ObjectNode json = head(r.config());
    json.put("already_done", r.alreadyDone());
    json.put("bpw", r.bpw());
    json.put("bpw_model", r.bpwModel());
    json.put("bytes", r.bytes());
    json.put("adapter_bytes", adapterBytes);
    json.put("seconds", r.seconds());
    phases.forEach(json.putObject("phases")::put);
    json.put("peak_rss_bytes", r.peakRssBytes());
    ArrayNode modules = json.putArray("modules");
    for (ModuleResult m : r.modules()) {
      ObjectNode node = modules.addObject();
      node.put("name", m.name()).put("bits", m.bits()).put("group_size", m.groupSize());
      node.put("loss", m.loss()).put("samples", m.samples()).put("damp", m.damp());
      node.put("seconds", m.seconds());
      m.fallback().ifPresent(why -> node.put("fallback", why));
    }
    console().document(json);
  }

  private void show(QuantizePlan plan, QuantizeConfig config) {
    console()
        .print(
            "%s would have %d quantized modules, %.2f bits per quantized weight, %.1f MB",
            output, plan.modules().size(), plan.bpw(), plan.bytes() / 1e6);
    ObjectNode json = head(config);
    json.put("dry_run", true);
    json.put("bpw", plan.bpw());
    json.put("bpw_model", plan.bpwModel());
    json.put("bytes", plan.bytes());
    json.put("adapter_bytes", adapterBytes);
    ArrayNode modules = json.putArray("modules");
    for (QuantizePlan.Module m : plan.modules()) {
      ObjectNode node = modules.addObject().put("name", m.name());
      node.put("bits", m.scheme().bits()).put("group_size", m.scheme().groupSize());
    }
    console().document(json);
  }

  private Path adapterFolder() {
    return output.resolve(AdapterDirectory.FOLDER);
  }

  private ObjectNode head(QuantizeConfig config) {
    ObjectNode json = object();
    json.put("model", model.name());
    json.put("output", output.toString());
    json.put("method", config.method().value());
    json.put("bits", config.bits());
    json.put("group_size", config.groupSize());
    json.put("sym", config.sym());
    json.put("adapter_rank", config.adapterRank());
    json.put("format", config.format().value());
    return json;
  }
}
