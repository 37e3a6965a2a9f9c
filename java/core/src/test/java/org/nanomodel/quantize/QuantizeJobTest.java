package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ModelSize;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.json.JsonFile;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.quantize.QuantizeListener.Progress;
import org.nanomodel.safetensors.TensorInfo;
import org.nanomodel.tensor.DataType;

class QuantizeJobTest {
  private static final TinyModel TINY = new TinyModel(64, 96, 4, false);
  private static final QuantizeConfig CONFIG = QuantizeConfig.builder().groupSize(32).build();

  private static Engine engine;

  @TempDir Path temp;
  private Path model;

  @BeforeAll
  static void openEngine() {
    engine = Engine.open();
  }

  @AfterAll
  static void closeEngine() {
    engine.close();
  }

  @BeforeEach
  void writeModel() throws IOException {
    model = TINY.write(temp.resolve("model"));
  }

  private QuantizeResult run(QuantizeConfig config, String output) {
    try (var source = ModelDirectory.open(model, engine)) {
      return QuantizeJob.of(source, config, engine, temp.resolve(output)).run();
    }
  }

  /** Runs until layer {@code layer} is on the disk, then cancels. */
  private void interruptAfter(int layer, QuantizeConfig config, String output) {
    var cancel = new Cancel();
    var listener =
        new QuantizeListener() {
          @Override
          public void layerFinished(int number, Progress progress) {
            if (number == layer) {
              cancel.raise();
            }
          }
        };
    try (var source = ModelDirectory.open(model, engine)) {
      var job =
          QuantizeJob.of(source, config, engine, temp.resolve(output))
              .cancel(cancel)
              .listener(listener);
      assertThatThrownBy(job::run).isInstanceOf(CancelledException.class);
    }
    assertThat(temp.resolve(output)).doesNotExist();
    assertThat(temp.resolve(output + ".job/job.json")).exists();
  }

  /** File names and hashes; the log's times are cut off. */
  static Map<String, String> contents(Path directory) throws IOException {
    var found = new TreeMap<String, String>();
    try (var files = Files.walk(directory)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        String text = Files.readString(file, StandardCharsets.ISO_8859_1);
        if (file.endsWith("quant_log.csv")) {
          text = text.replaceAll(",[0-9]+\\.[0-9]{3},", ",TIME,");
        }
        found.put(directory.relativize(file).toString(), text);
      }
    }
    return found;
  }

  @ParameterizedTest
  @CsvSource({
    "2,32,true,gptq",
    "3,32,true,gptq",
    "4,32,true,gptq",
    "8,32,true,gptq",
    "4,-1,true,gptq",
    "4,128,true,gptq_v2",
    "2,16,false,gptq_v2",
    "3,32,false,gptq_v2",
    "4,32,false,gptq_v2",
    "8,-1,false,gptq_v2",
    "4,40,true,gptq",
    "4,32,true,gemm",
    "4,-1,false,gemm"
  })
  void theCheckpointHoldsTheCodesOfRtn(int bits, long group, boolean sym, String format) {
    var config =
        QuantizeConfig.builder()
            .bits(bits)
            .groupSize(group)
            .sym(sym)
            .format(Format.of(format))
            .build();
    var result = run(config, "out");
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("out"), engine);
        var arena = Arena.ofConfined()) {
      assertThat(made.quantizedModules()).containsExactlyInAnyOrderElementsOf(TINY.linears());
      assertThat(made.quantization().orElseThrow().defaults()).isEqualTo(config.defaults());
      assertThat(made.quantization().orElseThrow().format()).isEqualTo(format);
      for (String module : TINY.linears()) {
        var expected =
            Rtn.quantize(
                arena,
                engine.ops(),
                source.tensor(module + ".weight"),
                config.defaults(),
                DataType.F16);
        var got = (QuantizedWeight) made.linear(arena, module);
        assertThat(got.codes().mismatch(expected.codes())).as(module).isEqualTo(-1);
        assertThat(got.zeros().mismatch(expected.zeros())).as(module).isEqualTo(-1);
        assertThat(got.scales().mismatch(expected.scales())).as(module).isEqualTo(-1);
      }
      for (TensorInfo tensor : source.tensors()) {
        String module = tensor.name().replace(".weight", "");
        if (!TINY.linears().contains(module)) {
          assertThat(made.bytes(tensor.name()).mismatch(source.bytes(tensor.name()))).isEqualTo(-1);
        }
      }
      var size = ModelSize.of(made);
      assertThat(size.bytes()).isEqualTo(result.bytes());
      assertThat(size.bpw()).isEqualTo(result.bpw());
      assertThat(size.bpwModel()).isEqualTo(result.bpwModel());
      assertThat(size.parameters()).isEqualTo(ModelSize.of(source).parameters());
    }
    assertThat(result.modules())
        .extracting(ModuleResult::name)
        .startsWith("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj")
        .endsWith("model.layers.3.mlp.down_proj")
        .containsExactlyInAnyOrderElementsOf(TINY.linears());
    assertThat(result.modules()).allSatisfy(m -> assertThat(m.loss()).isBetween(1e-4, 0.99));
    assertThat(temp.resolve("out.job")).doesNotExist();
  }

  @Test
  void configsKeepWhatTheyHadAndSayHowToRead() throws IOException {
    run(CONFIG, "out");
    var before = JsonFile.read(model.resolve("config.json"));
    var after = JsonFile.read(temp.resolve("out/config.json"));
    var stated = JsonFile.read(temp.resolve("out/quantize_config.json"));
    assertThat(after.remove("quantization_config")).isEqualTo(stated);
    assertThat(after).isEqualTo(before);
    assertThat(Files.readString(temp.resolve("out/config.json"))).contains("2.50", "10000.0");
    assertThat(Files.readString(temp.resolve("out/quantize_config.json")))
        .isEqualTo(
            """
            {
              "bits": 4,
              "group_size": 32,
              "desc_act": false,
              "lm_head": false,
              "method": "gptq",
              "quant_method": "gptq",
              "format": "gptq",
              "checkpoint_format": "gptq",
              "pack_dtype": "int32",
              "meta": {
                "quantizer": [
                  "nanomodel:0.1.0"
                ],
                "algorithm": "rtn"
              },
              "sym": true
            }\
            """);
    assertThat(contents(temp.resolve("out")).keySet())
        .containsExactly(
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "quant_log.csv",
            "quantize_config.json",
            "quantize_job.json");
    List<String> log = Files.readAllLines(temp.resolve("out/quant_log.csv"));
    assertThat(log).hasSize(1 + TINY.linears().size());
    assertThat(log).allSatisfy(line -> assertThat(line.split(",", -1)).hasSize(9));
  }

  @Test
  void dynamicOverridesAndTheHeadAreFollowed() throws IOException {
    var dynamic = JsonFile.object();
    dynamic.putObject("-:.*\\.1\\..*gate");
    dynamic.putObject("+:.*\\.0\\..*down").put("bits", 8).put("group_size", 16);
    dynamic.putObject("lm_head").put("bits", 8);
    dynamic.putObject("no_such_module");
    var config = QuantizeConfig.builder().groupSize(32).lmHead(true).dynamic(dynamic).build();
    try (var source = ModelDirectory.open(model, engine)) {
      var plan = QuantizePlan.of(source, config);
      assertThat(plan.skipped()).containsExactly("model.layers.1.mlp.gate_proj");
      assertThat(plan.warnings()).anyMatch(w -> w.contains("no_such_module"));
      assertThat(plan.matches().get("+:.*\\.0\\..*down"))
          .containsExactly("model.layers.0.mlp.down_proj");
      assertThat(plan.matches().get("no_such_module")).isEmpty();
      assertThat(plan.warnings()).anyMatch(w -> w.startsWith("layer 1:") && w.contains("vLLM"));
    }
    run(config, "out");
    try (var made = ModelDirectory.open(temp.resolve("out"), engine);
        var arena = Arena.ofConfined()) {
      assertThat(made.has("model.layers.1.mlp.gate_proj.weight")).isTrue();
      assertThat(made.has("lm_head.weight")).isFalse();
      assertThat(((QuantizedWeight) made.linear(arena, "lm_head")).bits()).isEqualTo(8);
      var down = (QuantizedWeight) made.linear(arena, "model.layers.0.mlp.down_proj");
      assertThat(down.bits()).isEqualTo(8);
      assertThat(down.groupSize()).isEqualTo(16);
      assertThat(made.quantization().orElseThrow().dynamic().toJson()).isEqualTo(dynamic);
      assertThat(made.quantization().orElseThrow().lmHead()).isTrue();
    }
  }

  @Test
  void aLayerMayStayInFloatAsAWhole() {
    var dynamic = JsonFile.object();
    dynamic.putObject("-:model\\.layers\\.2\\.");
    var config = QuantizeConfig.builder().groupSize(32).dynamic(dynamic).build();
    interruptAfter(2, config, "out");
    assertThat(run(config, "out").modules()).hasSize(21);
    try (var made = ModelDirectory.open(temp.resolve("out"), engine)) {
      assertThat(made.quantizedModules()).hasSize(21).noneMatch(m -> m.contains("layers.2."));
      assertThat(made.has("model.layers.2.mlp.up_proj.weight")).isTrue();
    }
    dynamic.removeAll();
    dynamic.putObject("-:model");
    var nothing = QuantizeConfig.builder().groupSize(32).dynamic(dynamic).build();
    assertThatThrownBy(() -> run(nothing, "nothing")).hasMessageContaining("leaves all modules");
  }

  @Test
  void aTiedHeadIsWrittenBesideTheEmbedding() throws IOException {
    model = new TinyModel(32, 32, 1, true).write(temp.resolve("tied"));
    var config = QuantizeConfig.builder().groupSize(32).lmHead(true).build();
    var result = run(config, "out");
    try (var source = ModelDirectory.open(model, engine);
        var made = ModelDirectory.open(temp.resolve("out"), engine);
        var arena = Arena.ofConfined()) {
      assertThat(QuantizePlan.of(source, config).warnings())
          .anyMatch(w -> w.startsWith("lm_head is the embedding itself"));
      String table = "model.embed_tokens.weight";
      assertThat(made.bytes(table).mismatch(source.bytes(table))).isEqualTo(-1);
      assertThat(made.config().tiedEmbeddings()).isFalse();
      var expected =
          Rtn.quantize(arena, engine.ops(), source.tensor(table), config.defaults(), DataType.F16);
      var head = (QuantizedWeight) made.linear(arena, "lm_head");
      assertThat(head.codes().mismatch(expected.codes())).isEqualTo(-1);
      assertThat(ModelSize.of(made).bytes()).isEqualTo(result.bytes());
      assertThat(ModelSize.of(made).bpwModel()).isEqualTo(result.bpwModel());
    }
    run(CONFIG, "without");
    try (var made = ModelDirectory.open(temp.resolve("without"), engine)) {
      assertThat(made.config().tiedEmbeddings()).isTrue();
      assertThat(made.has("lm_head.qweight")).isFalse();
    }
  }

  @Test
  void shardsHoldWhatOneFileHolds() throws IOException {
    run(CONFIG, "one");
    try (var source = ModelDirectory.open(model, engine)) {
      QuantizeJob.of(source, CONFIG, engine, temp.resolve("many")).maxShardBytes(20_000).run();
    }
    assertThat(temp.resolve("many/model.safetensors")).doesNotExist();
    assertThat(temp.resolve("many/model.safetensors.index.json")).exists();
    try (var one = ModelDirectory.open(temp.resolve("one"));
        var many = ModelDirectory.open(temp.resolve("many"))) {
      assertThat(many.weightFiles()).hasSizeGreaterThan(2);
      assertThat(many.tensors()).hasSameSizeAs(one.tensors());
      for (TensorInfo tensor : one.tensors()) {
        assertThat(many.bytes(tensor.name()).mismatch(one.bytes(tensor.name()))).isEqualTo(-1);
      }
    }
  }

  @Test
  void anInterruptedJobGoesOnAndEndsByteEqual() throws IOException {
    run(CONFIG, "whole");
    interruptAfter(1, CONFIG, "out");
    var resumed = new ArrayList<Integer>();
    var done = new ArrayList<Integer>();
    try (var source = ModelDirectory.open(model, engine)) {
      QuantizeJob.of(source, CONFIG, engine, temp.resolve("out"))
          .listener(
              new QuantizeListener() {
                @Override
                public void layerResumed(int layer, Progress progress) {
                  resumed.add(layer);
                }

                @Override
                public void layerFinished(int layer, Progress progress) {
                  done.add(layer);
                }
              })
          .run();
    }
    assertThat(resumed).containsExactly(0, 1);
    assertThat(done).containsExactly(2, 3);
    assertThat(contents(temp.resolve("out"))).isEqualTo(contents(temp.resolve("whole")));
    assertThat(temp.resolve("out.job")).doesNotExist();
  }

  @ParameterizedTest
  @CsvSource({
    "layer-00000.safetensors,flip",
    "layer-00001.safetensors,cut",
    "layer-00001.json,cut",
    "layer-00000.json,delete"
  })
  void aHarmedLayerIsDoneAgain(String file, String harm) throws IOException {
    run(CONFIG, "whole");
    interruptAfter(1, CONFIG, "out");
    Path path = temp.resolve("out.job").resolve(file);
    byte[] bytes = Files.readAllBytes(path);
    switch (harm) {
      case "flip" -> {
        bytes[bytes.length - 1] ^= 1;
        Files.write(path, bytes);
      }
      case "cut" -> Files.write(path, Arrays.copyOf(bytes, bytes.length / 2));
      default -> Files.delete(path);
    }
    run(CONFIG, "out");
    assertThat(contents(temp.resolve("out"))).isEqualTo(contents(temp.resolve("whole")));
  }

  @Test
  void aJobOfSomethingElseIsRefusedNamingTheField() throws IOException {
    interruptAfter(0, CONFIG, "out");
    assertThatThrownBy(() -> run(QuantizeConfig.builder().bits(8).groupSize(32).build(), "out"))
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("config.bits was 4 and is now 8");
    Path weights = model.resolve("model.safetensors");
    FileTime time = Files.getLastModifiedTime(weights);
    Files.setLastModifiedTime(weights, FileTime.fromMillis(time.toMillis() + 5000));
    assertThatThrownBy(() -> run(CONFIG, "out")).hasMessageContaining("modified.model.safetensors");
    Files.setLastModifiedTime(weights, time);
    Files.writeString(model.resolve("generation_config.json"), "{\"eos_token_id\": 2}");
    assertThatThrownBy(() -> run(CONFIG, "out")).hasMessageContaining("generation_config.json");
    try (var source = ModelDirectory.open(model, engine)) {
      QuantizeJob.of(source, CONFIG, engine, temp.resolve("out")).restart(true).run();
    }
    assertThat(temp.resolve("out/config.json")).exists();
  }

  @Test
  void twoProcessesDoNotShareAJob() throws IOException {
    interruptAfter(0, CONFIG, "out");
    try (var channel = FileChannel.open(temp.resolve("out.job/lock"), StandardOpenOption.WRITE);
        var _ = channel.lock()) {
      assertThatThrownBy(() -> run(CONFIG, "out"))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("is being worked on");
    }
    run(CONFIG, "out"); // a lock file that nobody holds does not matter
  }

  @Test
  void theSameFinishedJobIsNotDoneAgainAndAnythingElseIsRefused() throws IOException {
    var first = run(CONFIG, "out");
    var before = contents(temp.resolve("out"));
    var again = run(CONFIG, "out");
    assertThat(again.alreadyDone()).isTrue();
    assertThat(first.alreadyDone()).isFalse();
    assertThat(again.bytes()).isEqualTo(first.bytes());
    assertThat(again.modules())
        .extracting(ModuleResult::loss)
        .isEqualTo(first.modules().stream().map(ModuleResult::loss).toList());
    var other = QuantizeConfig.builder().bits(8).groupSize(32).build();
    assertThatThrownBy(() -> run(other, "out"))
        .hasMessageContaining("holds the result of another job: config.bits was 4 and is now 8");
    assertThat(contents(temp.resolve("out"))).isEqualTo(before);

    Files.setLastModifiedTime(
        model.resolve("model.safetensors"),
        FileTime.fromMillis(System.currentTimeMillis() + 60_000));
    assertThatThrownBy(() -> run(CONFIG, "out")).hasMessageContaining("not empty");

    Files.writeString(temp.resolve("out/README.md"), "mine");
    try (var source = ModelDirectory.open(model, engine)) {
      QuantizeJob.of(source, other, engine, temp.resolve("out")).overwrite(true).run();
    }
    assertThat(temp.resolve("out/README.md")).hasContent("mine");
    try (var made = ModelDirectory.open(temp.resolve("out"))) {
      assertThat(made.quantization().orElseThrow().defaults().bits()).isEqualTo(8);
    }
  }
}
