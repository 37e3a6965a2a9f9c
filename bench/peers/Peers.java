import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.nanomodel.ops.Engine;

/**
 * This engine and its peers side by side: each is a process of its own, and they take turns, one
 * sample each a round, so that a slow moment of the machine meets all of them. <code>
 * java Peers.java ROOT REVISION [PART]</code> measures the cases whose name has that part, adds
 * them to bench/results/cpu-DATE.json and writes docs/performance.md's tables from that file.
 * run.sh starts it.
 */
final class Peers {
  private static final int SIZE = 4096;
  private static final int[] ROWS = {1, 4, 16, 64, 256, 512};
  private static final int[] THREADS = {1, 2};
  private static final int PROMPT = 512;
  private static final int GENERATED = 64;
  private static final int MOST_ROUNDS = 11;
  private static final double CASE_SECONDS = 30; // of samples, or one round if that takes longer
  private static final double PEER_SECONDS = 25; // of a model's runs, or one round

  private final Path root;
  private final Path home;
  private final String part;
  private final ObjectMapper json = new ObjectMapper();
  private final Map<String, PeerProcess> peers = new LinkedHashMap<>();

  private Peers(Path root, String part) {
    this.root = root;
    this.home = root.resolve("build/peers");
    this.part = part;
  }

  public static void main(String[] args) throws IOException {
    var peers = new Peers(Path.of(args[0]), args.length > 2 ? args[2] : "");
    Path file = peers.root.resolve("bench/results/cpu-" + LocalDate.now() + ".json");
    ObjectNode results = peers.open(file, args[1]);
    peers.measure(results, file);
    new PeerTables(results).into(peers.root.resolve("docs/performance.md"));
  }

  private ObjectNode open(Path file, String revision) throws IOException {
    Files.createDirectories(file.getParent());
    if (Files.exists(file)) {
      return (ObjectNode) json.readTree(file.toFile());
    }
    var results = json.createObjectNode();
    var cpu = Engine.cpu();
    results.put("date", LocalDate.now().toString()).put("revision", revision);
    results.put("cpu", cpu.brand()).put("cores", cpu.affinityCores()).put("tier", cpu.bestTier());
    results.put("java", Runtime.version().toString());
    return results;
  }

  private interface Measurement {
    ObjectNode run() throws IOException;
  }

  private void measure(ObjectNode results, Path file) throws IOException {
    Map<String, Measurement> cases = new LinkedHashMap<>();
    List<Checkpoint> models = checkpoints();
    for (int threads : THREADS) {
      for (int m : ROWS) {
        cases.put("linear m%d t%d".formatted(m, threads), () -> linears(m, threads));
      }
      for (Checkpoint model : models) {
        cases.put("model %s t%d".formatted(model.name, threads), () -> models(model, threads));
      }
    }
    for (var one : cases.entrySet()) {
      if (!one.getKey().contains(part)) {
        continue;
      }
      System.err.println("peers: " + one.getKey());
      try {
        results.withObject("/cases").set(one.getKey(), one.getValue().run());
      } finally {
        peers.values().forEach(PeerProcess::close);
        peers.clear();
      }
      json.writerWithDefaultPrettyPrinter().writeValue(file.toFile(), results);
    }
  }

  // ---- who can be asked ----

  /**
   * The process of a peer, started at its first use in a case; null where it is missing, which is
   * said once.
   */
  private PeerProcess peer(String name) {
    return peers.computeIfAbsent(name, this::start);
  }

  private PeerProcess start(String name) {
    String java = Path.of(System.getProperty("java.home"), "bin/java").toString();
    Path drivers = root.resolve("bench/peers");
    Function<String, String> source = driver -> drivers.resolve(driver).toString();
    String natives = "--enable-native-access=ALL-UNNAMED";
    String app = root.resolve("build/app") + File.separator + "*";
    List<String> command =
        switch (name) {
          case "nanomodel", "nanomodel-int8" ->
              List.of(
                  java,
                  natives,
                  "-Dnanomodel.library.path=" + root.resolve("build/native"),
                  "-Dnanomodel.activations=" + (name.equals("nanomodel") ? "auto" : "int8"),
                  "-cp",
                  app,
                  source.apply("NanoModelDriver.java"));
          case "llama.cpp" ->
              List.of(
                  java,
                  natives,
                  source.apply("LlamaCppDriver.java"),
                  home.resolve(name).toString());
          case "jlama" ->
              List.of(
                  java,
                  natives,
                  "--add-modules=jdk.incubator.vector",
                  "-cp",
                  home.resolve(name) + File.separator + "*",
                  source.apply("JlamaDriver.java"));
          case "onnxruntime" ->
              List.of(
                  java,
                  natives,
                  "-cp",
                  home.resolve(name) + File.separator + "*",
                  source.apply("OnnxRuntimeDriver.java"));
          case "torch" -> List.of("python3", source.apply("torch_driver.py"));
          default -> throw new IllegalArgumentException(name);
        };
    boolean fetched =
        name.startsWith("nanomodel")
            || name.equals("torch")
            || Files.isDirectory(home.resolve(name));
    if (!fetched) {
      System.err.println("peers: no " + name + ": bench/peers/get.sh " + name + " gets it");
      return null;
    }
    try {
      return new PeerProcess(name, command, home.resolve(name + ".log"));
    } catch (IOException e) {
      System.err.println("peers: no " + name + ": " + e.getMessage());
      return null;
    }
  }

  // ---- matrix products ----

  private record Kind(String peer, String kind) {
    String name() {
      return peer + " " + kind;
    }
  }

  private static final List<Kind> KINDS =
      List.of(
          new Kind("nanomodel", "i4"),
          new Kind("nanomodel", "i4-int8"),
          new Kind("nanomodel", "w8a8"),
          new Kind("nanomodel", "bf16"),
          new Kind("nanomodel", "read"),
          new Kind("llama.cpp", "q4_0"),
          new Kind("onnxruntime", "accuracy4"),
          new Kind("onnxruntime", "accuracy0"),
          new Kind("torch", "int4"),
          new Kind("torch", "w8a8"),
          new Kind("torch", "bf16"),
          new Kind("jlama", "q4"));

  /** Few rows go through so many layers that their weights exceed every cache, as a model's do. */
  private static int layers(int m) {
    return m <= 4 ? 40 : m <= 64 ? 4 : 1;
  }

  private ObjectNode linears(int m, int threads) {
    Map<Kind, List<Double>> samples = new LinkedHashMap<>();
    for (Kind kind : KINDS) {
      if (kind.kind.equals("read") && m > 1) {
        continue;
      }
      PeerProcess peer = peer(kind.peer);
      if (peer != null
          && peer.ask("linear %s %s %d %d %d %d", kind.kind, kind.kind, SIZE, m, layers(m), threads)
              >= 0) {
        samples.put(kind, new ArrayList<>());
      }
    }
    long start = System.nanoTime();
    for (int round = 0;
        round < MOST_ROUNDS && (round == 0 || since(start) < CASE_SECONDS);
        round++) {
      samples.forEach((kind, list) -> list.add(peer(kind.peer).ask("sample %s", kind.kind)));
    }
    ObjectNode all = json.createObjectNode().put("m", m).put("threads", threads).put("size", SIZE);
    samples.forEach((kind, list) -> all.withObject("/seconds").set(kind.name(), array(list)));
    return all;
  }

  // ---- whole models ----

  /** What each peer loads, by its name. */
  private record Checkpoint(String name, Map<String, Path> files) {}

  private List<Checkpoint> checkpoints() {
    List<Checkpoint> all = new ArrayList<>();
    for (String name : List.of("random-llama", "smollm2")) {
      Map<String, Path> files = new LinkedHashMap<>();
      files.put("nanomodel", home.resolve("models/" + name + "-4bit"));
      files.put("nanomodel-int8", home.resolve("models/" + name + "-4bit"));
      files.put("llama.cpp", home.resolve("models/" + name + "-Q4_0.gguf"));
      files.put("jlama", home.resolve("models/" + name + "-jlama"));
      files.values().removeIf(file -> !Files.exists(file));
      if (files.containsKey("nanomodel")) {
        all.add(new Checkpoint(name, files));
      } else {
        System.err.println("peers: no " + name + ": bench/peers/get.sh models makes it");
      }
    }
    return all;
  }

  private ObjectNode models(Checkpoint model, int threads) {
    Map<String, List<Double>> prefill = new LinkedHashMap<>();
    Map<String, List<Double>> decode = new LinkedHashMap<>();
    ObjectNode all = json.createObjectNode().put("model", model.name).put("threads", threads);
    all.put("prompt", PROMPT).put("generated", GENERATED);
    model.files.forEach((name, file) -> {
      PeerProcess peer = peer(name);
      double seconds = peer == null ? -1 : peer.ask("model %s %d", file, threads);
      if (seconds >= 0) {
        all.withObject("/load").put(name, seconds);
        peer.ask("prefill %d", PROMPT / 8);
        peer.ask("decode %d", GENERATED / 8);
        prefill.put(name, new ArrayList<>());
        decode.put(name, new ArrayList<>());
      }
    });
    Map<String, Double> spent = new LinkedHashMap<>();
    for (int round = 0; round < MOST_ROUNDS; round++) {
      for (String name : prefill.keySet()) {
        double used = spent.getOrDefault(name, 0.0);
        if (used == 0 || used * (round + 1) / round < PEER_SECONDS) {
          double reading = peer(name).ask("prefill %d", PROMPT);
          double writing = peer(name).ask("decode %d", GENERATED);
          if (reading < 0 || writing < 0) {
            spent.put(name, Double.MAX_VALUE);
            continue;
          }
          prefill.get(name).add(reading);
          decode.get(name).add(writing);
          spent.put(name, used + reading + writing);
        }
      }
    }
    prefill.values().removeIf(List::isEmpty);
    decode.values().removeIf(List::isEmpty);
    prefill.forEach((name, list) -> all.withObject("/prefill").set(name, array(list)));
    decode.forEach((name, list) -> all.withObject("/decode").set(name, array(list)));
    prefill
        .keySet()
        .forEach(name -> all.withObject("/resident").put(name, peer(name).residentBytes()));
    return all;
  }

  private ArrayNode array(List<Double> values) {
    ArrayNode array = json.createArrayNode();
    values.forEach(array::add);
    return array;
  }

  private static double since(long start) {
    return (System.nanoTime() - start) / 1e9;
  }
}
