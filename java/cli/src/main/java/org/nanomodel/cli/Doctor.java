package org.nanomodel.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.Device;
import org.nanomodel.NanoModelException;
import org.nanomodel.Version;
import org.nanomodel.ops.Engine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;

/** {@code doctor}: what this machine has, what was chosen and why, and whether it computes. */
@Command(
    name = "doctor",
    description = "Shows what this machine has, which kernels were chosen and why, and tests one.",
    footer = "  nanomodel doctor --json")
final class Doctor extends Verb {
  @Mixin private EngineFlags engine;

  @Override
  void run() {
    ObjectNode json = object();
    json.put("version", Version.NUMBER);
    json.put("abi", Version.abi());
    json.put("jdk", jdk());
    Engine.CpuInfo cpu = Engine.cpu();
    ObjectNode cpuJson = json.putObject("cpu");
    cpuJson.put("brand", cpu.brand()).put("logical_cores", cpu.logicalCores());
    cpuJson.put("affinity_cores", cpu.affinityCores());
    cpu.features().forEach(cpuJson.putArray("features")::add);
    try (Engine opened = Engine.open(engine.options())) {
      String reason = reason(opened.tier(), cpu);
      json.put("tier", opened.tier()).put("tier_reason", reason);
      cpu.tiers().forEach(json.putArray("tiers")::add);
      json.put("activations", opened.activations().toString());
      json.put("threads", opened.threads()).put("device", opened.device().toString());
      cuda(json.putObject("cuda"));
      libraries(json.putArray("libraries"));
      SelfTest test = SelfTest.run(opened);
      json.putObject("self_test")
          .put("op", test.op())
          .put("kernel", test.kernel())
          .put("max_error", test.maxError())
          .put("allowed", test.allowed())
          .put("passed", test.passed());
      print(json, test);
      console().document(json);
      if (!test.passed()) {
        throw new NanoModelException(
            "The self test failed: kernels compute wrong results here; " + test);
      }
    }
  }

  private static String jdk() {
    return System.getProperty("java.vm.name")
        + " "
        + Runtime.version()
        + " ("
        + System.getProperty("java.vendor")
        + ")";
  }

  private static String inputs(String activations) {
    return activations.equals("auto")
        ? "auto: integer weights meet int8 where the checkpoint says so, else 16 bits (near-exact)"
        : activations + ": asked for, for all integer weights";
  }

  private static String reason(String tier, Engine.CpuInfo cpu) {
    if (!tier.equals(cpu.bestTier())) {
      return "asked for; the best here is " + cpu.bestTier();
    }
    List<String> off = cpu.features().stream().filter(f -> f.startsWith("-")).toList();
    boolean tiles = cpu.features().stream().anyMatch(f -> f.endsWith("amx_tile"));
    String noTiles = tiles ? Engine.whyNoTier("avx512_amx") : "";
    return "the best that this processor runs and this library has"
        + (off.isEmpty() ? "" : "; switched off by the system: " + String.join(" ", off))
        + (noTiles.isEmpty() ? "" : "; no avx512_amx: " + noTiles);
  }

  private static void cuda(ObjectNode json) {
    int count = Engine.deviceCount(Device.Kind.CUDA);
    json.put("available", count > 0).put("devices", count);
    json.put("reason", count > 0 ? null : Engine.whyNoDevice(Device.Kind.CUDA));
  }

  private static void libraries(ArrayNode json) {
    json.addObject().put("name", "libnanomodel").put("path", Version.library().toString());
    List<String[]> jars = new ArrayList<>();
    jars.add(new String[] {"tokenizers", "ai.djl.huggingface.tokenizers.jni.TokenizersLibrary"});
    jars.add(new String[] {"jackson-databind", "com.fasterxml.jackson.databind.ObjectMapper"});
    jars.add(new String[] {"picocli", "picocli.CommandLine"});
    jars.add(new String[] {"xchart", "org.knowm.xchart.XYChart"});
    for (String[] jar : jars) {
      json.addObject().put("name", jar[0]).put("path", locate(jar[1]));
    }
  }

  private static String locate(String className) {
    try {
      var source = Class.forName(className).getProtectionDomain().getCodeSource();
      return source == null ? null : source.getLocation().getPath();
    } catch (ClassNotFoundException e) {
      return null;
    }
  }

  private void print(ObjectNode json, SelfTest test) {
    ObjectNode cpu = (ObjectNode) json.get("cpu");
    List<String> features = new ArrayList<>();
    cpu.get("features").forEach(f -> features.add(f.asText()));
    List<String> tiers = new ArrayList<>();
    json.get("tiers").forEach(t -> tiers.add(t.asText()));
    console()
        .print(
            "nanomodel  %s, library ABI %s",
            json.get("version").asText(), json.get("abi").asText());
    console().print("jdk        %s", json.get("jdk").asText());
    int cores = cpu.get("logical_cores").asInt();
    int affinity = cpu.get("affinity_cores").asInt();
    String limit = cores < affinity ? " of " + affinity + " by the CPU quota of the cgroup" : "";
    console().print("cpu        %s, %d cores%s", cpu.get("brand").asText(), cores, limit);
    console().print("features   %s", String.join(" ", features));
    console()
        .print("tier       %s: %s", json.get("tier").asText(), json.get("tier_reason").asText());
    console().print("tiers      %s", String.join(", ", tiers));
    console().print("inputs     %s", inputs(json.get("activations").asText()));
    console().print("threads    %d", json.get("threads").asInt());
    ObjectNode cuda = (ObjectNode) json.get("cuda");
    console()
        .print(
            "cuda       %s",
            cuda.get("available").asBoolean()
                ? cuda.get("devices").asText() + " devices"
                : "none: " + cuda.get("reason").asText());
    json.get("libraries")
        .forEach(l ->
            console().print("library    %s  %s", l.get("name").asText(), l.get("path").asText()));
    console().print("self test  %s", test);
  }
}
