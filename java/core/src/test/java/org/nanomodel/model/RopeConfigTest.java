package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nanomodel.json.JsonFields;

/** Against transformers 5.18.0: rope.json was written by make_rope_golden.py beside it. */
class RopeConfigTest {
  record Case(String name, JsonNode config, JsonNode invFreq, double attentionFactor) {
    @Override
    public String toString() {
      return name;
    }
  }

  static List<Case> cases() throws Exception {
    try (InputStream in = RopeConfigTest.class.getResourceAsStream("rope.json")) {
      return StreamSupport.stream(new ObjectMapper().readTree(in).spliterator(), false)
          .map(n ->
              new Case(
                  n.get("name").asText(),
                  n.get("config"),
                  n.get("inv_freq"),
                  n.get("attention_factor").asDouble()))
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void anglesAndFactorAreThoseOfTransformers(Case c) {
    var fields =
        JsonFields.parse("config.json", c.config().toString().getBytes(StandardCharsets.UTF_8));
    int headDim = c.config().path("head_dim").asInt(256 / 4);
    int positions = c.config().get("max_position_embeddings").asInt();
    RopeConfig rope = new RopeParser(fields, headDim, positions).parse("full_attention");

    float[] invFreq = rope.invFreq();
    assertThat(invFreq).hasSize(c.invFreq().size());
    for (int i = 0; i < invFreq.length; i++) {
      float expected = (float) c.invFreq().get(i).asDouble();
      // The one function that float32 leaves open is pow, good to one unit in the last place in
      // torch; up to three
      // roundings follow it.
      assertThat(invFreq[i])
          .as("inv_freq[%d]", i)
          .isCloseTo(expected, within(4 * Math.ulp(expected)));
    }
    assertThat(rope.attentionFactor()).isEqualTo((float) c.attentionFactor());
  }
}
