package org.nanomodel.tokenizer;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * What must be known of a tokenizer.json beside what the tokenizers library does with it: its added
 * tokens, which ids stand for single bytes, and how many ids there are. Read as a stream, since
 * vocabularies have 150,000 entries and more.
 */
record TokenizerFile(String json, List<AddedToken> added, BitSet byteTokens, int vocabSize) {
  private static final ObjectMapper MAPPER = new ObjectMapper();
  private static final JsonFactory FACTORY = MAPPER.getFactory();

  /** Ids are places in tables of this many rows at most, as in config.json. */
  private static final int MAX_VOCAB = 1 << 24;

  private static final Pattern BYTE = Pattern.compile("<0x[0-9A-Fa-f]{2}>");

  record AddedToken(int id, String content, boolean special) {}

  static TokenizerFile parse(String json) throws IOException {
    List<AddedToken> added = new ArrayList<>();
    BitSet bytes = new BitSet();
    int[] size = {0};
    String prefix = "";
    try (JsonParser parser = FACTORY.createParser(json)) {
      expect(parser, parser.nextToken(), JsonToken.START_OBJECT, "the file");
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "added_tokens" -> readAdded(parser, added, size);
          case "model" -> prefix = readModel(parser, bytes, size);
          case "normalizer", "pre_tokenizer", "post_processor", "decoder" ->
              TokenizerChecks.checkPart(name, parser.readValueAsTree());
          default -> parser.skipChildren();
        }
      }
    }
    if (!prefix.isEmpty()) {
      checkMerges(json, prefix);
    }
    return new TokenizerFile(json, List.copyOf(added), bytes, size[0]);
  }

  private static void readAdded(JsonParser parser, List<AddedToken> added, int[] size)
      throws IOException {
    expect(parser, parser.currentToken(), JsonToken.START_ARRAY, "added_tokens");
    while (parser.nextToken() == JsonToken.START_OBJECT) {
      int id = -1;
      String content = null;
      boolean special = false;
      while (parser.nextToken() == JsonToken.FIELD_NAME) {
        String name = parser.currentName();
        parser.nextToken();
        switch (name) {
          case "id" -> id = parser.getIntValue();
          case "content" -> content = parser.getText();
          case "special" -> special = parser.getBooleanValue();
          default -> parser.skipChildren();
        }
      }
      if (id < 0 || content == null || content.isEmpty()) {
        throw new IOException("added_tokens: an entry without id or content (id " + id + ")");
      }
      grow(size, "added_tokens", id);
      added.add(new AddedToken(id, content, special));
    }
  }

  /** Returns the continuing_subword_prefix. */
  private static String readModel(JsonParser parser, BitSet bytes, int[] size) throws IOException {
    expect(parser, parser.currentToken(), JsonToken.START_OBJECT, "model");
    String prefix = "";
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String name = parser.currentName();
      JsonToken value = parser.nextToken();
      if (name.equals("vocab") && value == JsonToken.START_OBJECT) {
        readVocab(parser, bytes, size);
      } else if (name.equals("vocab") && value == JsonToken.START_ARRAY) {
        readUnigram(parser, bytes, size);
      } else if (name.equals("continuing_subword_prefix") && value == JsonToken.VALUE_STRING) {
        prefix = parser.getText();
      } else {
        parser.skipChildren();
      }
    }
    return prefix;
  }

  /** "a b" or ["a", "b"]; WordPiece has no merges. */
  private static void checkMerges(String json, String prefix) throws IOException {
    for (JsonNode merge : MAPPER.readTree(json).path("model").path("merges")) {
      String pair = merge.isTextual() ? merge.textValue() : merge.path(1).asText();
      TokenizerChecks.checkMerge(pair.substring(pair.indexOf(' ') + 1), prefix);
    }
  }

  /** BPE, WordPiece, WordLevel: {"token": id}. */
  private static void readVocab(JsonParser parser, BitSet bytes, int[] size) throws IOException {
    while (parser.nextToken() == JsonToken.FIELD_NAME) {
      String token = parser.currentName();
      parser.nextToken();
      int id = parser.getIntValue();
      grow(size, "model.vocab", id);
      if (token.length() == 6 && BYTE.matcher(token).matches()) {
        bytes.set(id);
      }
    }
  }

  /** Unigram: [["token", score], ...], the id is the place. */
  private static void readUnigram(JsonParser parser, BitSet bytes, int[] size) throws IOException {
    int id = 0;
    while (parser.nextToken() == JsonToken.START_ARRAY) {
      parser.nextToken();
      if (BYTE.matcher(parser.getText()).matches()) {
        bytes.set(id);
      }
      while (parser.nextToken() != JsonToken.END_ARRAY) {
        parser.skipChildren();
      }
      id++;
    }
    size[0] = Math.max(size[0], id);
  }

  private static void grow(int[] size, String where, int id) throws IOException {
    if (id < 0 || id >= MAX_VOCAB) {
      throw new IOException(where + ": id " + id + ", expected 0.." + (MAX_VOCAB - 1));
    }
    size[0] = Math.max(size[0], id + 1);
  }

  private static void expect(JsonParser parser, JsonToken got, JsonToken want, String where)
      throws IOException {
    if (got != want) {
      throw new IOException(
          where
              + ": expected "
              + want
              + ", got "
              + got
              + " at "
              + parser.currentLocation().getLineNr());
    }
  }

  /** Does the text spell a special token somewhere? */
  boolean mentionsSpecial(String text) {
    Pattern pattern = specialPattern();
    return pattern != null && pattern.matcher(text).find();
  }

  /** Finds the longest special token at each place, as the library does. */
  private Pattern specialPattern() {
    String alternatives =
        specialTokens().stream()
            .sorted(Comparator.comparingInt(String::length).reversed())
            .map(Pattern::quote)
            .collect(Collectors.joining("|"));
    return alternatives.isEmpty() ? null : Pattern.compile(alternatives);
  }

  /** Their spellings. */
  List<String> specialTokens() {
    return added.stream().filter(AddedToken::special).map(AddedToken::content).toList();
  }

  /** The text with the mark before every special token. */
  String withMark(String text, String mark) {
    Pattern pattern = specialPattern();
    return pattern == null
        ? text
        : pattern.matcher(text).replaceAll(found -> Matcher.quoteReplacement(mark + found.group()));
  }

  /**
   * The same tokenizer with special tokens that are spelled with a mark before them, in the
   * vocabulary too: to it, "<|im_end|>" is ordinary characters, and the marked one is the token.
   */
  String jsonWithMark(String mark) {
    Set<String> specials = Set.copyOf(specialTokens());
    try {
      ObjectNode root = (ObjectNode) MAPPER.readTree(json);
      for (JsonNode token : root.path("added_tokens")) {
        if (token.path("special").asBoolean()) {
          ((ObjectNode) token).put("content", mark + token.get("content").textValue());
        }
      }
      JsonNode model = root.path("model");
      if (model.path("vocab") instanceof ObjectNode vocab) {
        for (String special : specials) {
          if (vocab.has(special)) {
            vocab.set(mark + special, vocab.remove(special));
          }
        }
      } else {
        for (JsonNode entry : model.path("vocab")) {
          if (specials.contains(entry.path(0).asText())) {
            ((ArrayNode) entry).set(0, mark + entry.get(0).textValue());
          }
        }
      }
      if (specials.contains(model.path("unk_token").asText())) {
        ((ObjectNode) model).put("unk_token", mark + model.get("unk_token").textValue());
      }
      root.putNull("post_processor");
      return MAPPER.writeValueAsString(root);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * The same tokenizer without its special tokens: to it, "<|im_end|>" is six ordinary characters
   * and more.
   */
  String jsonWithoutSpecial() {
    try {
      ObjectNode root = (ObjectNode) MAPPER.readTree(json);
      ArrayNode kept = MAPPER.createArrayNode();
      for (JsonNode token : root.path("added_tokens")) {
        if (!token.path("special").asBoolean()) {
          kept.add(token);
        }
      }
      root.set("added_tokens", kept);
      root.putNull("post_processor");
      return MAPPER.writeValueAsString(root);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The id of an added token, or -1. */
  int idOf(String content) {
    for (AddedToken token : added) {
      if (token.content().equals(content)) {
        return token.id();
      }
    }
    return -1;
  }

  boolean isSpecial(int id) {
    for (AddedToken token : added) {
      if (token.id() == id) {
        return token.special();
      }
    }
    return false;
  }
}
