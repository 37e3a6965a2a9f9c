package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.nanomodel.BadModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;

/**
 * The {@code config_groups} of a compressed-tensors config: each with how its weights are quantized
 * and which modules it means, by name, by regular expression ({@code re:}, matched from the start)
 * or by the name of their class ({@code Linear}). A name counts before a class.
 *
 * @param unsupported what about them this version does not decode
 */
record CompressedGroups(List<Group> groups, Optional<String> unsupported) {
  record Group(ModuleScheme scheme, List<String> targets) {
    boolean names(String module) {
      for (String target : targets) {
        boolean regex = target.startsWith("re:");
        if (regex
            ? Pattern.compile(target.substring(3)).matcher(module).lookingAt()
            : target.equals(module)) {
          return true;
        }
      }
      return false;
    }

    boolean namesClass() {
      return targets.stream().anyMatch(t -> !t.startsWith("re:") && !t.contains("."));
    }
  }

  static CompressedGroups parse(ObjectNode json, String format, String source) {
    var groups = new ArrayList<Group>();
    Optional<String> unsupported = Optional.empty();
    for (var entry : json.path("config_groups").properties()) {
      String path = "config_groups." + Escaped.line(entry.getKey());
      String where = source + " " + path;
      JsonNode weights = entry.getValue().path("weights");
      if (!weights.isObject()) {
        throw new BadModelException(where + ": field weights is missing");
      }
      unsupported = unsupported.or(() -> refusal(entry.getValue(), weights, format));
      if (unsupported.isEmpty()) {
        groups.add(
            new Group(
                scheme(JsonFields.of(source, path + ".weights", weights)),
                targets(entry.getValue(), where)));
      }
    }
    if (groups.isEmpty() && unsupported.isEmpty()) {
      throw new BadModelException(source + ": field config_groups is missing or empty");
    }
    boolean turned = !json.path("transform_config").isEmpty();
    return new CompressedGroups(
        List.copyOf(groups),
        unsupported.or(() -> turned ? Optional.of("a transform_config") : Optional.empty()));
  }

  private static Optional<String> refusal(JsonNode group, JsonNode weights, String format) {
    String type = weights.path("type").asText("int");
    int bits = weights.path("num_bits").asInt(8);
    String own = group.path("format").asText(format);
    if (!type.equals("int") || bits < 2 || bits > 8) {
      return Optional.of("weights of type " + Escaped.of(type) + " with " + bits + " bits");
    }
    String strategy = weights.path("strategy").asText("channel");
    if (!List.of("group", "channel", "tensor").contains(strategy)) {
      return Optional.of("strategy " + Escaped.of(strategy));
    }
    return own.equals(format) || own.equals("null")
        ? Optional.empty()
        : Optional.of("a group of format " + Escaped.of(own));
  }

  private static ModuleScheme scheme(JsonFields weights) {
    boolean groups = weights.text("strategy").orElse("group").equals("group");
    return new ModuleScheme(
        ModuleScheme.bits(weights, "num_bits").orElse(8),
        groups ? ModuleScheme.groupSize(weights, "group_size").orElse(-1L) : -1,
        weights.bool("symmetric", true),
        weights.text("actorder").orElse("").equals("group"));
  }

  private static List<String> targets(JsonNode group, String where) {
    var targets = new ArrayList<String>();
    for (JsonNode target : group.path("targets")) {
      targets.add(target.asText());
      if (target.asText().startsWith("re:")) {
        try {
          Pattern.compile(target.asText().substring(3));
        } catch (PatternSyntaxException | StackOverflowError e) {
          throw new BadModelException(
              where + " target \"" + target.asText() + "\": not a regular expression", e);
        }
      }
    }
    return List.copyOf(targets);
  }

  /** What holds for modules that no group names. */
  ModuleScheme defaults() {
    return groups.stream().filter(Group::namesClass).findFirst().orElse(groups.getFirst()).scheme();
  }

  /** What holds for a module; empty when no group means it. */
  Optional<ModuleScheme> scheme(String module) {
    return groups.stream()
        .filter(g -> g.names(module))
        .findFirst()
        .or(() -> groups.stream().filter(Group::namesClass).findFirst())
        .map(Group::scheme);
  }
}
