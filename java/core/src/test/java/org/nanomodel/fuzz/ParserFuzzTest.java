package org.nanomodel.fuzz;

import static org.assertj.core.api.Assertions.assertThat;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.BadModelException;
import org.nanomodel.SharedData;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.checkpoint.AdapterDirectory;
import org.nanomodel.checkpoint.AdapterWriter;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.safetensors.SafetensorsException;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Readers of files from strangers, on good files with random changes: each is read or refused, in
 * one line, in bounded time and memory. Without settings a fixed set of changes is tried.
 *
 * <p>{@code NANOMODEL_FUZZ_SECONDS=600} goes on for that long for each reader, from {@code
 * NANOMODEL_FUZZ_SEED} or another seed every time. A failure says the seed and keeps the file.
 */
class ParserFuzzTest {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private static final int ROUNDS = 2000;
  private static final long MAX_HEAP = 64L << 20;
  private static final long MAX_NANOS = 2_000_000_000L;

  @TempDir Path temp;
  private Path model;

  private interface Reader {
    void read(byte[] file) throws IOException;
  }

  @BeforeEach
  void makeModel() throws IOException {
    model = new TinyModel(32, 64, 1, false).write(temp.resolve("model"));
  }

  @Test
  void safetensorsHeaders() throws IOException {
    byte[] whole = Files.readAllBytes(model.resolve("model.safetensors"));
    String small =
        "{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],"
            + "\"data_offsets\":[0,16]},\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[16,19]}}";
    byte[] header = small.getBytes(StandardCharsets.UTF_8);
    byte[] file = new byte[8 + header.length + 19];
    file[0] = (byte) header.length;
    System.arraycopy(header, 0, file, 8, header.length);
    Path bad = temp.resolve("bad.safetensors");
    fuzz(
        List.of(whole, file, file, file),
        bytes -> {
          fixLength(bytes);
          Files.write(bad, bytes);
          try (var open = SafetensorsFile.open(bad)) {
            open.tensors()
                .forEach(
                    t -> assertThat(open.segment(t.name()).byteSize()).isEqualTo(t.byteSize()));
          }
        });
  }

  /** Half of the files get a header length that fits, so that changes reach the JSON reader. */
  private static void fixLength(byte[] bytes) {
    int brace = -1;
    for (int i = 8; i < bytes.length - 1; i++) {
      if (bytes[i] == '}' && bytes[i + 1] == '}') {
        brace = i + 2;
        break;
      }
    }
    if (brace > 0 && brace % 2 == 0) {
      for (int i = 0; i < 8; i++) {
        bytes[i] = (byte) (((long) brace - 8) >>> (8 * i));
      }
    }
  }

  @Test
  void configFiles() throws IOException {
    List<byte[]> corpus = new ArrayList<>();
    corpus.add(Files.readAllBytes(model.resolve("config.json")));
    corpus.add(bundled("config.json"));
    fuzz(
        corpus,
        bytes -> {
          Files.write(model.resolve("config.json"), bytes);
          try (var directory = ModelDirectory.open(model)) {
            directory.config();
          }
        });
  }

  @Test
  void quantizationConfigs() throws IOException {
    List<byte[]> corpus =
        List.of(
            text(
                "{\"bits\":4,\"group_size\":128,\"desc_act\":false,\"sym\":true,\"lm_head\":false,"
                    + "\"quant_method\":\"gptq\",\"checkpoint_format\":\"gptq\","
                    + "\"pack_dtype\":\"int32\",\"meta\":{\"quantizer\":[\"x:1\"]},"
                    + "\"dynamic\":{\"-:.*down.*\":{},\"+:.*up_proj\":{\"bits\":8}}}"),
            text(
                "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":64,\"zero_point\":true,"
                    + "\"version\":\"gemm\"}"),
            text(
                "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\","
                    + "\"config_groups\":{\"g\":{\"targets\":[\"Linear\",\"re:.*down_proj\"],"
                    + "\"weights\":{\"num_bits\":4,\"type\":\"int\",\"strategy\":\"group\","
                    + "\"group_size\":64,\"symmetric\":false,\"actorder\":null}}}}"),
            text(
                "{\"group_size\":64,\"bits\":4,\"mode\":\"affine\","
                    + "\"model.layers.0.mlp.down_proj\":{\"bits\":8},\"lm_head\":false}"));
    fuzz(
        corpus,
        bytes -> {
          Files.write(model.resolve("quantize_config.json"), bytes);
          try (var directory = ModelDirectory.open(model)) {
            directory.requireReadable();
            var config = directory.quantization().orElseThrow();
            config.scheme("model.layers.0.mlp.down_proj");
          }
        });
  }

  @Test
  void adapterConfigs() throws IOException {
    String module = "model.layers.0.mlp.down_proj";
    Path folder = Files.createDirectories(temp.resolve("adapter"));
    var plan =
        List.of(
            AdapterWriter.a("base_model.model." + module, 4, 64),
            AdapterWriter.b("base_model.model." + module, 32, 4));
    try (var writer = SafetensorsWriter.create(folder.resolve("adapter_model.safetensors"), plan)) {
      for (var spec : plan) {
        writer.put(spec.name(), MemorySegment.ofArray(new byte[(int) spec.byteSize()]));
      }
      writer.finish();
    }
    List<byte[]> corpus =
        List.of(
            text(
                "{\"alpha_pattern\":{\"down_proj\":8,\".*mlp.(a|b)*\":2.5},\"bias\":\"none\","
                    + "\"lora_alpha\":16,\"modules_to_save\":null,\"peft_type\":\"LORA\",\"r\":4,"
                    + "\"use_dora\":false,\"use_rslora\":true}"));
    fuzz(
        corpus,
        bytes -> {
          Files.write(folder.resolve("adapter_config.json"), bytes);
          try (var directory = ModelDirectory.open(model);
              var adapter = AdapterDirectory.open(folder);
              var arena = Arena.ofConfined()) {
            var part = adapter.over(directory, directory.config()).adapter(arena, module);
            assertThat(part.orElseThrow().scale()).isFinite();
          }
        });
  }

  @Test
  void tokenizers() throws IOException {
    List<byte[]> corpus =
        List.of(
            text(
                "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":4,\"content\":\"<s>\",\"special\":true,"
                    + "\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\"normalized\":false}],"
                    + "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"ByteLevel\","
                    + "\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true},"
                    + "\"post_processor\":null,\"decoder\":{\"type\":\"ByteLevel\","
                    + "\"add_prefix_space\":true,\"trim_offsets\":true,\"use_regex\":true},"
                    + "\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2,\"c\":3},\"merges\":[\"a"
                    + " b\"]}}"),
            text(
                "{\"added_tokens\":[],\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":"
                    + "\"[a-z]+|\\\\s\"},\"behavior\":\"Isolated\",\"invert\":false},"
                    + "\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":["
                    + "{\"SpecialToken\":{\"id\":\"a\",\"type_id\":0}},{\"Sequence\":{\"id\":\"A\","
                    + "\"type_id\":0}}],\"pair\":[],\"special_tokens\":{\"a\":{\"id\":\"a\",\"ids\":[0],"
                    + "\"tokens\":[\"a\"]}}},\"model\":{\"type\":\"BPE\",\"byte_fallback\":true,"
                    + "\"vocab\":{\"a\":0,\"<0x61>\":1},\"merges\":[[\"a\",\"a\"]]}}"));
    Path file = temp.resolve("tokenizer.json");
    fuzz(
        corpus,
        bytes -> {
          Files.write(file, bytes);
          try (var tokenizer = Tokenizer.load(file)) {
            tokenizer.decode(tokenizer.encode("ab <s>c\u00e9\0", true), true);
          }
        });
  }

  private static byte[] text(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static byte[] bundled(String name) throws IOException {
    return Files.readAllBytes(SharedData.root().resolve("data/models/stories-qwen3").resolve(name));
  }

  private static void fuzz(List<byte[]> corpus, Reader reader) throws IOException {
    String seconds = System.getenv("NANOMODEL_FUZZ_SECONDS");
    String given = System.getenv("NANOMODEL_FUZZ_SEED");
    long first = given != null ? Long.parseLong(given) : seconds != null ? System.nanoTime() : 1;
    long end = seconds == null ? 0 : System.nanoTime() + Long.parseLong(seconds) * 1_000_000_000L;
    int refused = 0;
    for (long seed = first;
        seconds == null ? seed < first + ROUNDS : System.nanoTime() < end;
        seed++) {
      byte[] bytes = new Mutator(seed, corpus).next();
      refused += isRefused(seed, bytes, reader) ? 1 : 0;
    }
    assertThat(refused).as("changes that were refused").isPositive();
  }

  private static boolean isRefused(long seed, byte[] bytes, Reader reader) throws IOException {
    long heap = THREADS.getCurrentThreadAllocatedBytes();
    long start = THREADS.getCurrentThreadCpuTime();
    Throwable thrown = null;
    try {
      reader.read(bytes.clone());
    } catch (BadModelException | UnsupportedModelException | SafetensorsException e) {
      thrown = e;
    } catch (Throwable e) {
      throw failed(seed, bytes, "threw " + e, e);
    }
    if (thrown != null && !thrown.getMessage().matches("[^\\p{Cntrl}\\u2028\\u2029]{5,2000}")) {
      throw failed(seed, bytes, "says '" + thrown.getMessage() + "'", thrown);
    }
    long nanos = THREADS.getCurrentThreadCpuTime() - start;
    heap = THREADS.getCurrentThreadAllocatedBytes() - heap;
    if (nanos > MAX_NANOS || heap > MAX_HEAP) {
      throw failed(seed, bytes, "took " + nanos / 1_000_000 + " ms and " + heap + " bytes", thrown);
    }
    return thrown != null;
  }

  private static AssertionError failed(long seed, byte[] bytes, String what, Throwable cause)
      throws IOException {
    Path kept = Files.write(Files.createTempFile("nanomodel-fuzz-" + seed + "-", ".bin"), bytes);
    return new AssertionError("seed " + seed + ", kept as " + kept + ": " + what, cause);
  }
}
