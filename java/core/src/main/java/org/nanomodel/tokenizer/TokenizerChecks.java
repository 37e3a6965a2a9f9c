package org.nanomodel.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.regex.Pattern;

/**
 * What the tokenizers library does not check itself, and answers with a panic that ends the JVM. So
 * it is checked before the library sees it.
 */
final class TokenizerChecks {
  /**
   * The library's regular expressions give up, and panic, after ten million steps of backtracking
   * in one match; usual splitting rules take one step or two a character of a run of spaces, or of
   * what is none.
   */
  static final int LONGEST_RUN = 1 << 22;

  /**
   * A quantifier without bound on a group that has one inside: time grows exponentially with the
   * text.
   */
  private static final Pattern NESTED_QUANTIFIERS =
      Pattern.compile("[+*}]\\)+(?:[+*]|\\{\\d*,\\})");

  /** Its JSON reader gives up at 128 levels of the whole file; known files have 6. */
  private static final int MAX_DEPTH = 32;

  private TokenizerChecks() {}

  /** The parts of a tokenizer.json beside model and vocabulary. */
  static void checkPart(String name, JsonNode part) throws IOException {
    checkReadable(name, part, 0);
    checkRules(name, part);
  }

  /** What is JSON to us, but not to the library: it panics where a decoder cannot be read. */
  private static void checkReadable(String name, JsonNode node, int depth) throws IOException {
    if (depth > MAX_DEPTH) {
      throw new IOException(name + ": nested more than " + MAX_DEPTH + " deep");
    }
    if (node.isTextual()) {
      checkPairs(name, node.textValue());
    } else if (node.isNumber() && !Double.isFinite(node.doubleValue())) {
      throw new IOException(name + ": a number beyond float64");
    }
    for (var field : node.properties()) {
      checkPairs(name, field.getKey());
    }
    for (JsonNode child : node) {
      checkReadable(name, child, depth + 1);
    }
  }

  private static void checkPairs(String name, String text) throws IOException {
    if (text.codePoints().anyMatch(c -> c >= 0xD800 && c <= 0xDFFF)) {
      throw new IOException(name + ": half a surrogate pair in a text");
    }
  }

  private static void checkRules(String name, JsonNode part) throws IOException {
    if (part.path("type").asText().equals("TemplateProcessing")) {
      checkTemplate(part);
    }
    JsonNode regex = part.path("pattern").path("Regex");
    if (regex.isTextual() && NESTED_QUANTIFIERS.matcher(regex.textValue()).find()) {
      throw new IOException(
          name
              + ": the pattern "
              + shorten(regex.textValue())
              + " repeats a repetition, which can take forever");
    }
    for (JsonNode child : part) {
      if (child.isContainerNode()) {
        checkRules(name, child);
      }
    }
  }

  private static void checkTemplate(JsonNode template) throws IOException {
    for (String kind : new String[] {"single", "pair"}) {
      for (JsonNode piece : template.path(kind)) {
        JsonNode id = piece.path("SpecialToken").path("id");
        if (id.isTextual() && !template.path("special_tokens").has(id.textValue())) {
          throw new IOException(
              "post_processor: the template names "
                  + shorten(id.textValue())
                  + ", which special_tokens lacks");
        }
      }
    }
  }

  /** A merge of a model with a continuing_subword_prefix. */
  static void checkMerge(String second, String prefix) throws IOException {
    if (!second.startsWith(prefix)) {
      throw new IOException(
          "model.merges: "
              + shorten(second)
              + " does not begin with continuing_subword_prefix "
              + shorten(prefix));
    }
  }

  /** Refuses a text with a run that the library's regular expressions may not survive. */
  static void checkText(String text) {
    int run = 0;
    boolean space = false;
    for (int i = 0; text.length() > LONGEST_RUN && i < text.length(); i++) {
      boolean now = Character.isWhitespace(text.charAt(i));
      run = now == space ? run + 1 : 1;
      space = now;
      if (run > LONGEST_RUN) {
        throw new IllegalArgumentException(
            "The text has more than %,d characters in a row %s; expected words"
                .formatted(LONGEST_RUN, now ? "that are spaces" : "without a space"));
      }
    }
  }

  private static String shorten(String text) {
    String printable = text.replaceAll("\\p{Cntrl}", "?");
    return "'" + (printable.length() > 60 ? printable.substring(0, 60) + "..." : printable) + "'";
  }
}
