package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.json.JsonFile;

class QuantizeConfigTest {
  @Test
  void defaultsAreThoseOfTheEcosystem() {
    var config = QuantizeConfig.builder().build();
    assertThat(config.toJson().toString())
        .isEqualTo(
            "{\"bits\":4,\"group_size\":128,\"desc_act\":false,\"lm_head\":false,\"method\":\"rtn\","
                + "\"format\":\"gptq\",\"sym\":true}");
  }

  @Test
  void asymmetricWeightsGoIntoV2() {
    assertThat(QuantizeConfig.builder().sym(false).build().format()).isEqualTo(Format.GPTQ_V2);
    assertThatThrownBy(() -> QuantizeConfig.builder().sym(false).format(Format.GPTQ).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("gptq_v2");
    var dynamic = JsonFile.object();
    dynamic.putObject("a").put("sym", false);
    var mixed = QuantizeConfig.builder().dynamic(dynamic).build();
    assertThatThrownBy(() -> mixed.scheme("a.b")).hasMessageMatching("a\\.b: .*asymmetric.*");
    assertThat(mixed.scheme("b")).contains(mixed.defaults());
  }

  @ParameterizedTest
  @ValueSource(ints = {-1, 0, 1, 5, 6, 7, 9, 16})
  void otherBitsAreRefused(int bits) {
    assertThatThrownBy(() -> QuantizeConfig.builder().bits(bits).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("bits " + bits);
  }

  @ParameterizedTest
  @ValueSource(longs = {-2, 0, 1L << 31})
  void otherGroupsAreRefused(long group) {
    assertThatThrownBy(() -> QuantizeConfig.builder().groupSize(group).build())
        .isInstanceOf(NanoModelException.class)
        .hasMessageContaining("group_size " + group);
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void everyMethodCanBeAskedFor(Method method) {
    assertThat(QuantizeConfig.builder().method(method).build().method()).isEqualTo(method);
    assertThat(Method.of(method.value())).isEqualTo(method);
  }

  @ParameterizedTest
  @EnumSource(Format.class)
  void everyFormatCanBeAskedFor(Format format) {
    boolean rows = format == Format.INT_QUANTIZED; // 8 bits, a scale a row
    var builder = QuantizeConfig.builder().bits(rows ? 8 : 4).groupSize(rows ? -1 : 128);
    assertThat(builder.format(format).build().format()).isEqualTo(format);
  }

  @Test
  void namesAreReadInAnyCase() {
    assertThat(Method.of("GPTQ")).isEqualTo(Method.GPTQ);
    assertThat(Format.of("Compressed-Tensors")).isEqualTo(Format.COMPRESSED_TENSORS);
    assertThatThrownBy(() -> Method.of("x")).hasMessageContaining("rtn, gptq");
    assertThatThrownBy(() -> Format.of("x")).hasMessageContaining("gptq_v2");
  }
}
