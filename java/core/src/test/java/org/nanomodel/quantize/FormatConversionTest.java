package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.CancelledException;
import org.nanomodel.Format;
import org.nanomodel.NanoModelException;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.SharedData;
import org.nanomodel.checkpoint.CheckpointWriter;
import org.nanomodel.checkpoint.ConversionResult;
import org.nanomodel.checkpoint.FormatConversion;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.ReferenceDecoders;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.ops.Engine;
import org.nanomodel.safetensors.TensorInfo;

/** Conversions keep codes, zeros, scales and groups, or are refused with the reason. */
class FormatConversionTest {
  private static Engine engine;
  private static Path model;
  @TempDir static Path temp;

  @BeforeAll
  static void open() throws IOException {
    engine = Engine.open();
    model = new TinyModel(256, 512, 1, false).write(temp.resolve("floats"));
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  private static QuantizeConfig config(String name) {
    var builder = QuantizeConfig.builder();
    return switch (name) {
      case "sym" -> builder.build();
      case "rows" -> builder.groupSize(-1).build();
      case "asym" -> builder.groupSize(64).sym(false).build();
      case "3bit" -> builder.bits(3).groupSize(32).sym(false).build();
      case "8bit" -> builder.bits(8).groupSize(-1).build();
      case "mixed" -> builder.lmHead(true).dynamic(mixed()).build();
      default -> throw new IllegalArgumentException(name);
    };
  }

  private static com.fasterxml.jackson.databind.JsonNode mixed() {
    var json = new com.fasterxml.jackson.databind.ObjectMapper().createObjectNode();
    json.putObject("-:.*gate");
    json.putObject(".*down").put("bits", 8).put("group_size", 64);
    return json;
  }

  /** A source by name: of golden, or the tiny model under one of the configs. */
  private static Path source(String name) {
    if (name.contains("/")) {
      return SharedData.require("golden/" + name);
    }
    Path output = temp.resolve(name);
    if (!Files.exists(output)) {
      try (var floats = ModelDirectory.open(model, engine)) {
        QuantizeJob.of(floats, config(name), engine, output).run();
      }
    }
    return output;
  }

  private static ConversionResult convert(ModelDirectory source, String to, Path output) {
    return FormatConversion.convert(
        source,
        engine,
        Format.of(to),
        output,
        CheckpointWriter.DEFAULT_SHARD_BYTES,
        false,
        () -> false);
  }

  private static final String LOSSLESS =
      """
      sym                      | gptq_v2 gemm gemv gemv_fast marlin compressed-tensors mlx gptq
      rows                     | gptq_v2 gemm gemv gemv_fast marlin qqq compressed-tensors
      asym                     | gemm gemv gemv_fast compressed-tensors mlx gptq_v2
      3bit                     | compressed-tensors mlx
      8bit                     | gptq_v2 compressed-tensors int-quantized
      mixed                    | gptq_v2 compressed-tensors
      gptqmodel/b2_sym         | gptq_v2 compressed-tensors mlx
      gptqmodel/b4_dyn         | gptq_v2 compressed-tensors mlx
      gptqmodel/b4_g32_desc    | gptq gptq_v2 compressed-tensors
      gptqmodel/b4_int8_orig   | gptq marlin
      gptqmodel/b5_p           | gptq gptq_v2 compressed-tensors mlx
      gptqmodel/b8_asym_v2     | compressed-tensors mlx
      gptqmodel/awq_gemm       | gptq_v2 gemv compressed-tensors
      gptqmodel/awq_gemv_fast  | gptq_v2 gemm gemv mlx
      gptqmodel/qqq_g128       | qqq int-quantized compressed-tensors
      gptqmodel/qqq_channel    | qqq compressed-tensors
      gptqmodel/opt_gptq       | compressed-tensors gemm
      formats/ct_int4_asym_g64 | gptq_v2 gemm mlx
      formats/ct_w8a8          | gptq compressed-tensors
      formats/marlin_g128      | gptq gemv_fast compressed-tensors mlx
      formats/mlx_4bit_g64     | mlx
      """;

  /** Every pair of the table is read back, the odd ones by the independent decoders too. */
  @Test
  void whatFitsIsConvertedWithoutLoss() throws Exception {
    SharedData.require("golden");
    var outputs = new ArrayList<Path>();
    for (String line : LOSSLESS.lines().toList()) {
      String[] parts = line.split("\\|");
      try (var from = ModelDirectory.open(source(parts[0].strip()), engine)) {
        for (String to : parts[1].strip().split(" ")) {
          Path output = temp.resolve(parts[0].strip().replace('/', '-') + "-to-" + to);
          var result = convert(from, to, output);
          assertThat(result.lossless()).isTrue();
          assertThat(result.to()).isEqualTo(to);
          try (var made = ModelDirectory.open(output, engine)) {
            ReferenceDecoders.assertSame(engine, from, made);
            assertThat(result.bytes())
                .isEqualTo(made.tensors().stream().mapToLong(TensorInfo::byteSize).sum());
          }
          if (parts[0].matches(
              "mixed.*|.*desc.*|.*qqq_g128.*|.*mlx.*")) { // FormatsTest has the rest
            outputs.add(output);
          }
        }
      }
    }
    ReferenceDecoders.decode(outputs);
    for (Path output : outputs) {
      ReferenceDecoders.assertSameWeights(engine, output);
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "sym | qqq | groups become int8 weights there",
        "sym | int-quantized | it holds 8 bits, not 4",
        "rows | mlx | it holds groups of 32, 64 or 128, not -1",
        "asym | gptq | use format gptq_v2",
        "asym | marlin | it has no zero points",
        "3bit | gemm | it holds 4 bits, not 3",
        "8bit | gemv_fast | it holds 4 bits, not 8",
        "mixed | marlin | it holds 4 bits, not 8",
        "gptqmodel/b4_g32_desc | gemm | it has no g_idx",
        "gptqmodel/b4_g32_desc | mlx | it has no g_idx",
        "gptqmodel/awq_gemm | marlin | it has no zero points",
        "gptqmodel/qqq_g128 | gptq | would be rounded to F16",
        "formats/mlx_4bit_g64 | gptq_v2 | floats behind which there are no integers",
      })
  void whatDoesNotFitIsRefusedByModuleWithTheReason(String from, String to, String why) {
    try (var source = ModelDirectory.open(source(from), engine)) {
      Path output = temp.resolve("refused");
      assertThatThrownBy(() -> convert(source, to, output))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContainingAll("module ", "format " + to, why)
          .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
      assertThat(output).doesNotExist();
    }
  }

  @Test
  void aFloatModelIsRefusedAndACancelledConversionLeavesNothing() {
    try (var floats = ModelDirectory.open(model, engine);
        var source = ModelDirectory.open(source("sym"), engine)) {
      Path output = temp.resolve("nothing");
      assertThatThrownBy(() -> convert(floats, "gemm", output)).hasMessageContaining("float model");
      var polls = new int[1];
      assertThatThrownBy(() ->
              FormatConversion.convert(
                  source, engine, Format.GEMM, output, 1 << 20, false, () -> polls[0]++ > 9))
          .isInstanceOf(CancelledException.class);
      assertThat(output).doesNotExist();
      try (var list = Files.list(temp)) {
        assertThat(list.map(p -> p.getFileName().toString()))
            .noneMatch(n -> n.startsWith("nothing"));
      } catch (IOException e) {
        throw new java.io.UncheckedIOException(e);
      }
    }
  }

  /** What a reader of each format looks for. */
  @Test
  void configsSayWhatTheirReadersAskFor() {
    var expected =
        Map.of(
            "gptq_v2", List.of("/quantization_config/checkpoint_format", "gptq_v2"),
            "gemm", List.of("/quantization_config/version", "gemm"),
            "marlin", List.of("/quantization_config/is_marlin_format", "true"),
            "compressed-tensors",
                List.of(
                    "/quantization_config/config_groups/group_0/weights/strategy", "group",
                    "/quantization_config/config_groups/group_0/weights/group_size", "128",
                    "/quantization_config/config_groups/group_0/targets/0", "Linear",
                    "/quantization_config/ignore/0", "lm_head",
                    "/quantization_config/quant_method", "compressed-tensors"),
            "mlx", List.of("/quantization/group_size", "128", "/quantization_config/bits", "4"));
    expected.forEach((to, fields) -> {
      Path output = temp.resolve("config-" + to);
      try (var source = ModelDirectory.open(source("sym"), engine)) {
        convert(source, to, output);
      }
      try (var made = ModelDirectory.open(output, engine)) {
        for (int i = 0; i < fields.size(); i += 2) {
          assertThat(made.configJson().at(fields.get(i)).asText()).isEqualTo(fields.get(i + 1));
        }
        boolean own = !to.equals("mlx") && !to.equals("compressed-tensors");
        assertThat(output.resolve("quantize_config.json").toFile().exists()).isEqualTo(own);
      }
    });
  }

  @Test
  void shardsAreCutBySize() {
    Path output = temp.resolve("shards");
    try (var source = ModelDirectory.open(source("sym"), engine)) {
      FormatConversion.convert(source, engine, Format.GEMV, output, 100_000, false, () -> false);
      try (var made = ModelDirectory.open(output, engine)) {
        assertThat(made.weightFiles()).hasSizeGreaterThan(2);
        ReferenceDecoders.assertSame(engine, source, made);
      }
    }
  }
}
