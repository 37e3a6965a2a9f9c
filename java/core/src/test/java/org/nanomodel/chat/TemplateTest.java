package org.nanomodel.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.SharedData;

/** The interpreter against Python's jinja2, and against templates that mean harm. */
class TemplateTest {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final LocalDateTime NOW = LocalDateTime.of(2026, 11, 5, 4, 3, 2);
  private static final TypeReference<Map<String, Object>> MAP = new TypeReference<>() {};

  private static String render(String template, Map<String, ?> variables) {
    return Template.of(template).render(variables, NOW);
  }

  @Test
  void rendersTheTemplatesOfRealModelsAsPythonDoes() throws IOException {
    JsonNode cases = MAPPER.readTree(SharedData.require("golden/chat/cases.json").toFile());
    assertThat(cases).hasSize(21);
    for (JsonNode row : cases) {
      String name = row.get("tpl").asText();
      var template = Files.readString(SharedData.require("golden/chat/" + name + ".jinja"));
      Map<String, Object> variables = MAPPER.convertValue(row.get("ctx"), MAP);
      if (row.get("expect").isNull()) {
        assertThatThrownBy(() -> render(template, variables))
            .as(name + " " + row.get("case"))
            .isInstanceOf(TemplateException.class)
            .hasMessage("chat template, line 76: 'function' of a map is undefined");
      } else {
        assertThat(render(template, variables))
            .as(name + " " + row.get("case"))
            .isEqualTo(row.get("expect").asText());
      }
    }
  }

  /** Rows by hand and random expressions; the file says how they were made. */
  @Test
  void agreesWithPythonOnEveryConstruct() throws IOException {
    JsonNode file;
    try (InputStream in = TemplateTest.class.getResourceAsStream("templates.json")) {
      file = MAPPER.readTree(in);
    }
    Map<String, Object> variables = MAPPER.convertValue(file.get("variables"), MAP);
    List<String> wrong = new ArrayList<>();
    for (JsonNode row : file.get("rows")) {
      String got;
      try {
        got = render(row.get(0).asText(), variables);
      } catch (TemplateException e) {
        got = null;
      }
      String expected = row.get(1).isNull() ? null : row.get(1).asText();
      if (got == null ? expected != null : !got.equals(expected)) {
        wrong.add(row.get(0) + "\n  expected " + expected + "\n  got      " + got);
      }
    }
    assertThat(file.get("rows").size()).isGreaterThan(800);
    assertThat(wrong).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(1000000000) %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 'a' * 16000000 * 16000000 }}",
        "{{ 'x'.center(2000000000) }}{{ 'x'|center(2000000000) }}",
        "{% set ns = namespace(s='aaaaaaaaaaaaaaaa') %}{% for i in range(99) %}"
            + "{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[0]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
        "{% set ns = namespace(s=[]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
        "{% set ns = namespace(s=[], t=[]) %}{% for i in range(99) %}{% set ns.s = [ns.s, ns.s] %}"
            + "{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
        "{% set ns = namespace(s=[]) %}{% for i in range(9999) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s|tojson }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n) }}{{ m(n) }}{% endmacro %}{{ m(1) }}",
        "{% set s = 'a' * 4000000 %}{{ (s + 'b') in (s ~ s ~ s) }}",
        "{% set s = 'a' * 4000000 %}{{ s.replace('a', s) }}",
        "{% set s = 'a' * 4000000 %}{{ s|list|length }}{{ s.split('a')|length }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 9 ** 9 ** 9 ** 9 }}",
        "{{ 9999999999999999999999 }}",
        "{{ 1 // 0 }}",
      })
  void whatWouldNeverEndOrFillTheMemoryIsAnError(String template) {
    assertThatThrownBy(() -> render(template, Map.of()))
        .isInstanceOf(TemplateException.class)
        .hasMessageStartingWith("chat template, line 1: ");
  }

  @Test
  void deepNestingIsAnError() {
    for (String deep :
        List.of(
            "{{ " + "(".repeat(100_000) + "1" + ")".repeat(100_000) + " }}",
            "{{ " + "[".repeat(100_000) + "]".repeat(100_000) + " }}",
            "{{ " + "not ".repeat(100_000) + "1 }}",
            "{{ " + "-".repeat(100_000) + "1 }}",
            "{{ 1" + "+1".repeat(100_000) + " }}",
            "{{ 1" + "|abs".repeat(100_000) + " }}",
            "{% if 1 %}".repeat(50_000) + "{% endif %}".repeat(50_000))) {
      assertThatThrownBy(() -> render(deep, Map.of())).isInstanceOf(TemplateException.class);
    }
  }

  /** No reflection: what Java's objects and Python's have beside their data is not there. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ s.getClass() }}",
        "{{ s.class.forName('java.lang.Runtime') }}",
        "{{ m.getClass().getName() }}",
        "{{ s.__class__.__mro__ }}",
        "{{ raise_exception.__globals__['os'] }}",
        "{{ loop.__init__() }}",
        "{{ m.__dict__.x }}",
        "{% for i in [1] %}{{ loop.getClass().x }}{% endfor %}",
        "{{ l.append(1) }}",
        "{{ m.update({'a': 1}) }}",
        "{{ m.pop('k') }}",
        "{% include 'file' %}",
        "{% import 'os' as os %}",
        "{% extends 'base' %}",
      })
  void onlyDataCanBeReached(String template) {
    Map<String, Object> variables = Map.of("s", "text", "m", Map.of("k", 1), "l", List.of(1));
    assertThatThrownBy(() -> render(template, variables)).isInstanceOf(TemplateException.class);
  }

  @Test
  void otherObjectsDoNotGetIn() {
    assertThatThrownBy(() -> render("{{ x }}", Map.of("x", new StringBuilder[0])))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("maps, lists, texts, numbers");
  }

  @Test
  void variablesAreNotChanged() {
    Map<String, Object> variables = Map.of("l", List.of(3, 1, 2));
    assertThat(render("{{ l|sort }}{% set l = l + [4] %}{{ l }}{{ l|reverse|list }}", variables))
        .isEqualTo("[1, 2, 3][3, 1, 2, 4][4, 2, 1, 3]");
    assertThat(variables).isEqualTo(Map.of("l", List.of(3, 1, 2)));
  }

  @Test
  void errorsNameTheLineAndTheThing() {
    assertThatThrownBy(() -> render("a\n\n{{ messages[0].content }}", Map.of()))
        .isInstanceOfSatisfying(TemplateException.class, e -> assertThat(e.line()).isEqualTo(3))
        .hasMessage("chat template, line 3: 'messages' is undefined");
    assertThatThrownBy(() -> render("a\n{% if x %}\nb", Map.of()))
        .hasMessageContaining("line 3: expected one of elif, else, endif");
    assertThatThrownBy(() -> render("{{ 1 +\n }}", Map.of())).hasMessageContaining("line 2");
    assertThatThrownBy(() -> render("\n{{ raise_exception('roles must alternate') }}", Map.of()))
        .hasMessage("chat template, line 2: the template says: roles must alternate");
  }
}
