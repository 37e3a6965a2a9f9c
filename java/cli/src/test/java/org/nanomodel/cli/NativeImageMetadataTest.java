package org.nanomodel.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;

/**
 * What GraalVM's native-image must know of the command line: the verbs and their flags, which
 * picocli's annotation processor writes down, and what is found by name, which is written by hand.
 */
class NativeImageMetadataTest {
  private static final String FOLDER = "META-INF/native-image/";
  private static final String OURS = "org.nanomodel/nanomodel-cli/";

  @Test
  void everyVerbAndFlagIsInWhatThePicocliProcessorWrote() throws Exception {
    Map<String, List<String>> fields = new HashMap<>();
    for (JsonNode type : read("picocli-generated/" + OURS + "reflect-config.json")) {
      fields.put(type.path("name").asText(), texts(type.path("fields"), "name"));
    }
    CommandSpec top =
        new CommandLine(new Main(new Console(System.out, System.err), Map.of())).getCommandSpec();
    List<CommandSpec> commands = new ArrayList<>(List.of(top));
    top.subcommands().values().forEach(verb -> commands.add(verb.getCommandSpec()));
    assertThat(commands).hasSizeGreaterThan(10);
    int flags = 0;
    for (CommandSpec command : commands) {
      assertThat(fields).containsKey(command.userObject().getClass().getName());
      for (ArgSpec arg : command.args()) {
        if (arg.userObject() instanceof java.lang.reflect.Field field) {
          String owner = field.getDeclaringClass().getName();
          assertThat(fields.getOrDefault(owner, List.of())).as(owner).contains(field.getName());
          flags++;
        }
      }
    }
    assertThat(flags).isGreaterThan(50);
  }

  @Test
  void whatIsFoundByNameIsThere() throws Exception {
    JsonNode reflection = read(OURS + "reachability-metadata.json").path("reflection");
    assertThat(reflection).isNotEmpty();
    for (JsonNode entry : reflection) {
      JsonNode proxied = entry.path("type").path("proxy");
      for (JsonNode name : proxied) {
        assertThat(Class.forName(name.asText())).isInterface();
      }
      if (proxied.isMissingNode()) {
        Class<?> type = Class.forName(entry.path("type").asText());
        for (JsonNode method : entry.path("methods")) {
          assertThat(signatures(type))
              .contains(method.path("name").asText() + texts(method.path("parameterTypes"), null));
        }
      }
    }
  }

  private static List<String> signatures(Class<?> type) {
    List<String> all = new ArrayList<>();
    for (var constructor : type.getConstructors()) {
      all.add("<init>" + names(constructor.getParameterTypes()));
    }
    for (var method : type.getMethods()) {
      all.add(method.getName() + names(method.getParameterTypes()));
    }
    return all;
  }

  private static List<String> names(Class<?>[] types) {
    return Arrays.stream(types).map(Class::getName).toList();
  }

  /** The elements as texts, or this field of each. */
  private static List<String> texts(JsonNode array, String field) {
    return StreamSupport.stream(array.spliterator(), false)
        .map(node -> field == null ? node.asText() : node.path(field).asText())
        .toList();
  }

  private static JsonNode read(String file) throws Exception {
    try (InputStream in = Main.class.getClassLoader().getResourceAsStream(FOLDER + file)) {
      assertThat(in).as(FOLDER + file).isNotNull();
      return new ObjectMapper().readTree(in);
    }
  }
}
