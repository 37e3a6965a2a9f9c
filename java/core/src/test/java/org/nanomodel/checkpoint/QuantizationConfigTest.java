package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.BadModelException;
import org.nanomodel.Format;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.json.JsonFile;

class QuantizationConfigTest {
  @TempDir Path temp;

  private static QuantizationConfig parse(String json) {
    return QuantizationConfig.parse(object(json), "quantize_config.json");
  }

  private static ObjectNode object(String json) {
    return JsonFile.parse(json.replace('\'', '"').getBytes(StandardCharsets.UTF_8), "test");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'bits':4,'group_size':128,'quant_method':'gptq'} | gptq | 4 | 128 | true | false",
        "{'bits':4,'group_size':128} | gptq | 4 | 128 | true | false",
        "{'bits':8} | gptq | 8 | -1 | true | false",
        "{'wbits':3,'q_group_size':64,'method':'gptq'} | gptq | 3 | 64 | true | false",
        "{'w_bit':2,'group_size':-1,'quant_method':'GPTQ','version':'gptq_v2'} | gptq_v2 | 2 | -1 |"
            + " true | false",
        "{'bits':4,'quant_method':'gptq','checkpoint_format':'gptq_v2','sym':false} | gptq_v2 | 4 |"
            + " -1 | false | false",
        "{'bits':4,'quant_method':'gptq','format':'gptq_v2','desc_act':true} | gptq_v2 | 4 | -1 |"
            + " true | true",
        "{'bits':4,'quant_method':'gptq','zero_point':true} | gptq | 4 | -1 | false | false",
        "{'bits':5,'quant_method':'gptq','format':'gptq_p'} | gptq_p | 5 | -1 | true | false",
        "{'bits':8,'quant_method':'gptq','pack_dtype':'int16'} | gptq | 8 | -1 | true | false",
        "{'zero_point':true,'q_group_size':64,'w_bit':4,'version':'GEMM'} | gemm | 4 | 64 | false |"
            + " false",
        "{'quant_method':'awq'} | gemm | 4 | 128 | true | false",
        "{'bits':4,'quant_method':'awq','zero_point':false,'format':'gemm','desc_act':true,"
            + "'modules_to_not_convert':['lm_head']} | gemm | 4 | 128 | true | false",
        "{'bits':4,'group_size':null,'sym':null,'meta':{},'new':[1]} | gptq | 4 | -1 | true |"
            + " false",
      })
  void spellingsOfManyWriters(
      String json, String format, int bits, long group, boolean sym, boolean descAct) {
    var config = parse(json);
    config.requireReadable();
    assertThat(config.method()).isEqualTo(format.equals("gemm") ? "awq" : "gptq");
    assertThat(config.format()).isEqualTo(format);
    assertThat(config.storesZeroMinusOne()).isEqualTo(format.equals("gptq"));
    assertThat(config.defaults()).isEqualTo(new ModuleScheme(bits, group, sym, descAct));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'bits':4,'quant_method':'awq','version':'GEMV'} | GEMV | 128",
        "{'zero_point':true,'q_group_size':64,'w_bit':4,'version':'gemv_fast'} | GEMV_FAST | 64",
        "{'bits':4,'quant_method':'awq','backend':'llm-awq'} | GEMV_FAST | 128",
        "{'bits':4,'quant_method':'qqq','group_size':-1,'desc_act':true} | QQQ | -1",
        "{'bits':4,'quant_method':'marlin','group_size':128} | MARLIN | 128",
        "{'bits':4,'is_marlin_format':true} | MARLIN | -1",
        "{'bits':4,'group_size':64,'mode':'affine'} | MLX | 64",
        "{'bits':4,'quant_method':'gptq','checkpoint_format':'gptq_p'} | GPTQ_V2 | -1",
      })
  void theConfigChoosesTheLayout(String json, Format layout, long group) {
    var config = parse(json);
    assertThat(config.layoutFormat()).isEqualTo(layout);
    assertThat(config.defaults().groupSize()).isEqualTo(group);
    assertThat(config.defaults().descAct()).isFalse();
    assertThat(Codec.of(config).format()).isEqualTo(layout);
  }

  @Test
  void groupsOfCompressedTensorsNameModulesClassesAndPatterns() {
    var config =
        parse(
            "{'quant_method':'compressed-tensors','format':'pack-quantized','config_groups':{"
                + "'group_0':{'targets':['Linear'],'weights':{'num_bits':4,'group_size':128,"
                + "'strategy':'group','symmetric':false,'type':'int'}},"
                + "'group_1':{'targets':['re:.*down_proj$'],'weights':{'num_bits':8,'group_size':null,"
                + "'strategy':'channel','symmetric':true,'type':'int'}},"
                + "'group_2':{'targets':['model.layers.0.up_proj'],'weights':{'num_bits':2,"
                + "'group_size':32,'strategy':'group','actorder':'group','type':'int'}}}}");
    var linear = new ModuleScheme(4, 128, false, false);
    assertThat(config.defaults()).isEqualTo(linear);
    assertThat(config.scheme("model.layers.0.q_proj")).contains(linear);
    assertThat(config.scheme("model.layers.0.down_proj"))
        .contains(new ModuleScheme(8, -1, true, false));
    assertThat(config.scheme("model.layers.0.up_proj"))
        .contains(new ModuleScheme(2, 32, true, true));
  }

  @Test
  void mlxHasObjectsForSingleModules() {
    var config =
        parse(
            "{'bits':4,'group_size':64,'mode':'affine','a.b':{'bits':8,'group_size':32},"
                + "'a.c':false,'a.d':true}");
    assertThat(config.scheme("a.b")).contains(new ModuleScheme(8, 32, false, false));
    assertThat(config.scheme("a.c")).isEmpty();
    assertThat(config.scheme("a.d")).contains(config.defaults());
    assertThat(config.scheme("a.e")).contains(config.defaults());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'bits':4,'quant_method':'awq','version':'exllama'} | quant_method 'awq' with format"
            + " 'exllama'",
        "{'bits':8,'quant_method':'awq','version':'gemm'} | and bits 8",
        "{'bits':8,'quant_method':'awq','version':'gemv'} | and bits 8",
        "{'bits':4,'quant_method':'awq','pack_dtype':'int16'} | pack_dtype 'int16'",
        "{'bits':3,'quant_method':'qqq'} | and bits 3",
        "{'quant_method':'compressed-tensors'} | quant_method 'compressed-tensors'",
        "{'quant_method':'compressed-tensors','format':'float-quantized'} | 'float-quantized'",
        "{'quant_method':'compressed-tensors','format':'pack-quantized','config_groups':{'a':"
            + "{'weights':{'type':'float','num_bits':4}}}} | weights of type 'float' with 4 bits",
        "{'quant_method':'compressed-tensors','format':'pack-quantized','config_groups':{'a':"
            + "{'weights':{'strategy':'block','num_bits':4}}}} | strategy 'block'",
        "{'quant_method':'compressed-tensors','format':'pack-quantized','transform_config':"
            + "{'r1':{}},'config_groups':{'a':{'weights':{'num_bits':4}}}} | a transform_config",
        "{'quant_method':'fp8'} | quant_method 'fp8'",
        "{'bits':4,'group_size':32,'mode':'mxfp4'} | mlx mode 'mxfp4'",
        "{'bits':4,'group_size':64,'method':'gptq','symmetric':true} | quant_method 'nanoptq'",
        "{'bits':8,'quant_method':'marlin'} | and bits 8",
        "{'bits':4,'quant_method':'bitblas'} | checkpoint_format 'bitblas'",
        "{'bits':5,'quant_method':'gptq','format':'gptq_q'} | checkpoint_format 'gptq_q'",
        "{'bits':4,'quant_method':'gptq','pack_dtype':'int64'} | pack_dtype 'int64'",
        "{'bits':5,'quant_method':'gptq','format':'gptq_p','pack_dtype':'int8'} | pack_dtype"
            + " 'int8'",
      })
  void whatCannotBeDecodedIsShownButRefusedByName(String json, String named) {
    var config = parse(json);
    assertThat(config.json()).isEqualTo(object(json));
    assertThat(config.unsupported().orElseThrow()).contains(named);
    assertThatThrownBy(config::requireReadable)
        .isInstanceOf(UnsupportedModelException.class)
        .hasMessageContaining(named)
        .hasMessageContaining("quantize_config.json")
        .hasMessageContaining("reads float models, gptq");
    assertThatThrownBy(() -> config.scheme("m")).isInstanceOf(UnsupportedModelException.class);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{'quant_method':'gptq'} | bits is missing",
        "{'bits':0} | bits is 0, expected a whole number from 2 to 8",
        "{'bits':1} | bits is 1, expected a whole number from 2 to 8",
        "{'bits':100} | bits is 100, expected a whole number from 2 to 8",
        "{'bits':-4} | bits is -4, expected a whole number from 2 to 8",
        "{'bits':'4'} | bits is ",
        "{'bits':4.5} | bits is ",
        "{'bits':99999999999999999999} | bits is ",
        "{'bits':4,'group_size':0} | group_size is 0, expected -1 (the whole row) or a positive"
            + " number",
        "{'bits':4,'group_size':-2} | group_size is -2, expected -1 (the whole row) or a positive"
            + " number",
        "{'bits':4,'group_size':4294967296} | group_size is 4294967296, expected -1 (the whole row)"
            + " or a positive number",
        "{'bits':4,'group_size':true} | group_size is ",
        "{'bits':4,'sym':'yes'} | sym is ",
        "{'bits':4,'desc_act':1} | desc_act is ",
        "{'bits':4,'lm_head':'no'} | lm_head is ",
        "{'bits':4,'quant_method':4} | quant_method is ",
        "{'bits':4,'pack_dtype':32} | pack_dtype is ",
        "{'bits':4,'dynamic':[]} | field dynamic",
        "{'bits':4,'dynamic':{'a':4}} | dynamic",
        "{'bits':4,'dynamic':{'a(':{}}} | regular expression",
        "{'bits':4,'dynamic':{'a':{'bits':99}}} | dynamic[\"a\"].bits is 99, expected a whole"
            + " number from 2 to 8",
      })
  void nonsenseIsRefusedByFileAndField(String json, String named) {
    assertThatThrownBy(() -> parse(json))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining(named)
        .hasMessageStartingWith("quantize_config.json")
        .satisfies(e -> assertThat(e.getMessage()).doesNotContain("\n"));
  }

  @Test
  void filesAreLookedForInTheOrderOfTheirSpecialization() throws IOException {
    var inConfig = object("{'quantization_config':{'bits':2}}");
    assertThat(QuantizationConfig.find(temp, object("{}"))).isEmpty();
    assertThat(QuantizationConfig.find(temp, object("{'quantization_config':null}"))).isEmpty();
    assertThat(bitsFound(inConfig)).isEqualTo(2);
    Files.writeString(temp.resolve("quant_config.json"), "{\"bits\":3}");
    assertThat(bitsFound(inConfig)).isEqualTo(3);
    Files.writeString(temp.resolve("quantize_config.json"), "{\"bits\":8}");
    assertThat(bitsFound(inConfig)).isEqualTo(8);
  }

  private int bitsFound(ObjectNode config) {
    return QuantizationConfig.find(temp, config).orElseThrow().defaults().bits();
  }

  @Test
  void mlxAloneUsesTheKeyQuantization() {
    var config =
        QuantizationConfig.find(temp, object("{'quantization':{'bits':4,'group_size':64}}"));
    assertThat(config.orElseThrow().method()).isEqualTo("mlx");
  }

  @Test
  void dynamicKeysAreMatchedFromTheStartNegativesFirstThenInOrder() {
    var config =
        parse(
            "{'bits':4,'group_size':128,'dynamic':{"
                + "'+:.*\\\\.0\\\\..*down.*':{'bits':8,'group_size':64},"
                + "'.*\\\\.0\\\\.':{'sym':false},"
                + "'-:.*\\\\.1\\\\..*gate.*':{},"
                + "'mlp':{'bits':2}}}");
    assertThat(config.scheme("model.layers.0.mlp.down_proj"))
        .contains(new ModuleScheme(8, 64, true, false));
    assertThat(config.scheme("model.layers.0.mlp.up_proj"))
        .contains(new ModuleScheme(4, 128, false, false));
    assertThat(config.scheme("model.layers.1.mlp.gate_proj")).isEmpty();
    assertThat(config.scheme("model.layers.1.mlp.up_proj"))
        .contains(new ModuleScheme(4, 128, true, false));
    assertThat(
            config
                .dynamic()
                .unmatched(List.of("model.layers.0.mlp.down_proj", "model.layers.1.mlp.gate_proj")))
        .containsExactly(".*\\.0\\.", "mlp");
  }

  @Test
  void anExpressionThatBacktracksForEverIsStopped() {
    var config = parse("{'bits':4,'dynamic':{'(([a-z._0-9]+)*)*X':{}}}");
    assertThatThrownBy(
            () -> config.scheme("model.layers.0.self_attn.q_proj.model.layers.0.self_attn.q_proj"))
        .isInstanceOf(BadModelException.class)
        .hasMessageContaining("does not come to an end");
  }
}
