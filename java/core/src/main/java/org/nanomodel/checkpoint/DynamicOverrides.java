package org.nanomodel.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.nanomodel.BadModelException;
import org.nanomodel.json.Escaped;
import org.nanomodel.json.JsonFields;
import org.nanomodel.json.JsonFile;

/**
 * The {@code dynamic} object of a quantization config: regular expressions over module paths, each
 * with what differs for the modules it matches. A key is matched from the start of the path but
 * need not reach its end; {@code -:} before it means "leave in float", {@code +:} or nothing
 * "quantize with these values". The {@code -:} keys are asked first, then the others in the order
 * of the file; the first that matches decides, even about fields it does not name. This is how
 * GPTQModel reads them, and vLLM, which however asks with the names of its fused modules ({@code
 * qkv_proj}).
 */
public final class DynamicOverrides {
  public static final DynamicOverrides NONE = new DynamicOverrides(List.of(), JsonFile.object());

  private record Rule(
      String key,
      boolean skip,
      Pattern pattern,
      Optional<Integer> bits,
      Optional<Long> groupSize,
      Optional<Boolean> sym,
      Optional<Boolean> descAct) {}

  private final List<Rule> rules;
  private final ObjectNode json;

  private DynamicOverrides(List<Rule> rules, ObjectNode json) {
    this.rules = rules;
    this.json = json;
  }

  /** Reads the object; {@code where} names the file in errors. */
  public static DynamicOverrides parse(JsonNode object, String where) {
    if (object == null || object.isNull()) {
      return NONE;
    }
    if (!(object instanceof ObjectNode node)) {
      throw new BadModelException(where + ": field dynamic is not an object");
    }
    var rules = new ArrayList<Rule>();
    for (var entry : node.properties()) {
      rules.add(rule(entry.getKey(), entry.getValue(), where));
    }
    rules.sort(Comparator.comparing(rule -> !rule.skip()));
    return new DynamicOverrides(List.copyOf(rules), node.deepCopy());
  }

  private static Rule rule(String key, JsonNode value, String where) {
    String path = "dynamic[\"" + Escaped.line(key) + "\"]";
    String at = where + " " + path;
    boolean skip = key.startsWith("-:");
    String regex = skip || key.startsWith("+:") ? key.substring(2) : key;
    if (!value.isObject() && !value.isNull()) {
      throw new BadModelException(at + ": expected an object of overrides");
    }
    var fields = JsonFields.of(where, path, value);
    return new Rule(
        key,
        skip,
        compile(regex, at),
        ModuleScheme.bits(fields, "bits"),
        ModuleScheme.groupSize(fields, "group_size"),
        fields.bool("sym"),
        fields.bool("desc_act"));
  }

  private static Pattern compile(String regex, String at) {
    try {
      return Pattern.compile(regex);
    } catch (PatternSyntaxException e) {
      throw new BadModelException(at + ": not a regular expression: " + e.getDescription(), e);
    } catch (StackOverflowError e) {
      throw new BadModelException(at + ": the regular expression is nested too deeply");
    }
  }

  public boolean isEmpty() {
    return rules.isEmpty();
  }

  /**
   * What holds for a module: the defaults with its overrides, or empty when a {@code -:} key leaves
   * it in float.
   */
  public Optional<ModuleScheme> apply(String module, ModuleScheme defaults) {
    Optional<Rule> rule = match(module);
    if (rule.isEmpty()) {
      return Optional.of(defaults);
    }
    if (rule.get().skip()) {
      return Optional.empty();
    }
    return Optional.of(
        new ModuleScheme(
            rule.get().bits().orElse(defaults.bits()),
            rule.get().groupSize().orElse(defaults.groupSize()),
            rule.get().sym().orElse(defaults.sym()),
            rule.get().descAct().orElse(defaults.descAct())));
  }

  /** All that the rule of a module says, also what this class does not read; empty without one. */
  public JsonNode values(String module) {
    return match(module).map(rule -> json.path(rule.key())).orElse(JsonFile.object());
  }

  /** The keys that decide about none of these modules: most likely misspelt. */
  public List<String> unmatched(Collection<String> modules) {
    var unused = new ArrayList<>(rules);
    for (String module : modules) {
      match(module).ifPresent(unused::remove);
    }
    return unused.stream().map(Rule::key).toList();
  }

  /** What each key decides about, in the order in which keys are asked; nothing for some, maybe. */
  public Map<String, List<String>> matched(Collection<String> modules) {
    var matched = new LinkedHashMap<String, List<String>>();
    rules.forEach(rule -> matched.put(rule.key(), new ArrayList<>()));
    for (String module : modules) {
      match(module).ifPresent(rule -> matched.get(rule.key()).add(module));
    }
    return matched;
  }

  /** The same rules without a field. */
  public DynamicOverrides without(String field) {
    ObjectNode left = json.deepCopy();
    for (var value : left) {
      if (value instanceof ObjectNode object) {
        object.remove(field);
      }
    }
    return new DynamicOverrides(rules, left);
  }

  private Optional<Rule> match(String module) {
    for (Rule rule : rules) {
      if (lookingAt(rule, module)) {
        return Optional.of(rule);
      }
    }
    return Optional.empty();
  }

  private static boolean lookingAt(Rule rule, String module) {
    try {
      return rule.pattern().matcher(new Counted(module, new long[] {MAX_STEPS})).lookingAt();
    } catch (StepsExceeded | StackOverflowError e) {
      throw new BadModelException(
          "dynamic[\""
              + rule.key()
              + "\"]: the regular expression does not come to an end on "
              + module);
    }
  }

  /** As it was read; keys and values nobody here knows are kept. */
  public ObjectNode toJson() {
    return json.deepCopy();
  }

  @Override
  public boolean equals(Object o) {
    return o instanceof DynamicOverrides other && json.equals(other.json);
  }

  @Override
  public int hashCode() {
    return json.hashCode();
  }

  @Override
  public String toString() {
    return json.toString();
  }

  /** A path of 100 characters takes a sane expression some hundred steps. */
  private static final long MAX_STEPS = 1_000_000;

  private static final class StepsExceeded extends RuntimeException {
    private static final long serialVersionUID = 1L;
  }

  /** Text that stops an expression which backtracks for ever: each look at a character counts. */
  private record Counted(CharSequence text, long[] left) implements CharSequence {
    @Override
    public char charAt(int index) {
      if (--left[0] < 0) {
        throw new StepsExceeded();
      }
      return text.charAt(index);
    }

    @Override
    public int length() {
      return text.length();
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return new Counted(text.subSequence(start, end), left);
    }

    @Override
    public String toString() {
      return text.toString();
    }
  }
}
