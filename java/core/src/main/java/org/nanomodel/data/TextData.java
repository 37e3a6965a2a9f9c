package org.nanomodel.data;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.nanomodel.NanoModelException;
import org.nanomodel.chat.ChatMessage;
import org.nanomodel.chat.ChatOptions;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Documents of text, or rows of token ids, from a file or a bundled set. Rows of ids are used as
 * they are: no BOS is added and nothing is joined or cut unless the options ask for it. Text is
 * tokenized when the tokens are asked for.
 */
public final class TextData {
  /** What the bundled stories are separated by, and enclosed in. */
  private static final String STORY_END = "<|endoftext|>";

  private final String name;
  private final List<String> texts; // one of these three is not null
  private final List<List<ChatMessage>> chats;
  private final List<int[]> ids;
  private final DataOptions options;

  private TextData(
      String name,
      List<String> texts,
      List<List<ChatMessage>> chats,
      List<int[]> ids,
      DataOptions options) {
    this.name = name;
    this.chats = chats == null ? null : select(chats, options);
    this.options = options;
    this.texts = texts == null ? null : select(texts, options);
    this.ids = ids == null ? null : select(ids, options);
  }

  /** Documents that are at hand. */
  public static TextData ofTexts(String name, List<String> documents, DataOptions options) {
    return new TextData(name, List.copyOf(documents), null, null, options);
  }

  /** Rows that are at hand. */
  public static TextData ofIds(String name, List<int[]> rows, DataOptions options) {
    return new TextData(name, null, null, List.copyOf(rows), options);
  }

  /** Chats that are at hand; the model's chat template makes texts of them. */
  public static TextData ofChats(String name, List<List<ChatMessage>> chats, DataOptions options) {
    return new TextData(name, null, List.copyOf(chats), null, options);
  }

  /**
   * A .txt, .jsonl or .safetensors file, or a bundled set.
   *
   * @param source a path, or one of {@link Bundled#textNames}
   */
  public static TextData open(String source, DataOptions options) {
    Path path = Path.of(source);
    if (Files.isRegularFile(path)) {
      return read(path, options);
    }
    Optional<Path> bundled = Bundled.text(source);
    if (bundled.isPresent()) {
      boolean plain = options.separator() == null && options.enclose() == null;
      DataOptions whole = plain ? options.withSeparator(STORY_END).withEnclose(STORY_END) : options;
      return read(bundled.get(), whole);
    }
    throw new NanoModelException(
        "Data '%s': %s; expected a .txt, .jsonl or .safetensors file, or a bundled text (%s)%s"
            .formatted(
                source,
                Files.isDirectory(path) ? "is a directory" : "no such file",
                String.join(", ", Bundled.textNames()),
                Bundled.placeOf(source).map(TextData::missingSet).orElse("")));
  }

  /** A known set such as wikitext2 is used by name once somebody has put it there. */
  private static String missingSet(Path place) {
    return "; to use it by name, put it at "
        + place
        + ".txt (one document) or "
        + place
        + ".jsonl (a line a document: {\"text\": ...})";
  }

  private static TextData read(Path path, DataOptions options) {
    String file = path.getFileName().toString().toLowerCase(Locale.ROOT);
    try {
      if (file.endsWith(".jsonl")) {
        JsonLines lines = JsonLines.read(path);
        if (!lines.chats().isEmpty()) {
          return ofChats(path.toString(), lines.chats(), options);
        }
        return lines.ids().isEmpty()
            ? ofTexts(path.toString(), lines.texts(), options)
            : ofIds(path.toString(), lines.ids(), options);
      }
      if (file.endsWith(".safetensors")) {
        return ofIds(path.toString(), IdTensor.read(path), options);
      }
      return ofTexts(path.toString(), split(Files.readString(path), options), options);
    } catch (CharacterCodingException e) {
      throw new NanoModelException(path + ": is not UTF-8 text", e);
    } catch (IOException e) {
      throw new NanoModelException(path + ": cannot be read: " + e.getMessage(), e);
    }
  }

  private static List<String> split(String text, DataOptions options) {
    if (options.separator() == null) {
      return List.of(text);
    }
    List<String> documents = new ArrayList<>();
    int from = 0;
    for (int at; from <= text.length(); from = at + options.separator().length()) {
      at = text.indexOf(options.separator(), from);
      at = at < 0 ? text.length() : at;
      String document = text.substring(from, at).strip();
      if (!document.isEmpty()) {
        documents.add(document);
      }
    }
    return documents;
  }

  private static <T> List<T> select(List<T> all, DataOptions options) {
    if (options.samples() == 0 || options.samples() >= all.size()) {
      return all;
    }
    List<Integer> order = new ArrayList<>(IntStream.range(0, all.size()).boxed().toList());
    if (options.seed() != null) {
      Collections.shuffle(order, new Random(options.seed()));
    }
    return order.stream().limit(options.samples()).sorted().map(all::get).toList();
  }

  /** Where it came from. */
  public String name() {
    return name;
  }

  /** What was asked for when it was opened. */
  public DataOptions options() {
    return options;
  }

  /** Text rather than chats or ids? */
  public boolean isText() {
    return texts != null;
  }

  /** The documents, for text. */
  public List<String> texts() {
    return texts == null ? List.of() : texts;
  }

  /** Number of documents or rows. */
  public int size() {
    return texts != null ? texts.size() : chats != null ? chats.size() : ids.size();
  }

  /**
   * Each document on its own, tokenized as the model expects a text; or each chat, as its template
   * writes it; or the rows of ids.
   *
   * @param tokenizer needed for text only
   * @param context documents of text are cut to this many tokens; rows of ids are not
   */
  public List<int[]> rows(Optional<Tokenizer> tokenizer, int context) {
    List<int[]> rows = new ArrayList<>();
    long left = options.limitTokens() == 0 ? Long.MAX_VALUE : options.limitTokens();
    for (int i = 0; i < size() && left > 0; i++) {
      int[] row = ids != null ? ids.get(i) : tokenize(require(tokenizer), i);
      long most = Math.min(left, options.seqLen() == 0 ? Integer.MAX_VALUE : options.seqLen());
      most = ids != null ? most : Math.min(most, context);
      row = row.length > most ? Arrays.copyOf(row, (int) most) : row;
      left -= row.length;
      rows.add(row);
    }
    return rows;
  }

  private int[] tokenize(Tokenizer tokenizer, int i) {
    if (chats != null) {
      return ChatTemplate.require(tokenizer).encode(tokenizer, chats.get(i), ChatOptions.WHOLE);
    }
    String document = texts.get(i);
    String enclose = options.enclose();
    return enclose == null
        ? tokenizer.encode(document, true)
        : tokenizer.encode(enclose + document + enclose, false);
  }

  /**
   * Everything as one stream of tokens: documents joined by an empty line, or by what encloses
   * them, tokenized once, with a BOS in front if the model's tokenizer adds one; or the rows of
   * ids, joined.
   */
  public int[] stream(Optional<Tokenizer> tokenizer) {
    int[] all;
    if (chats != null) {
      all =
          IntStream.range(0, chats.size())
              .mapToObj(i -> tokenize(require(tokenizer), i))
              .flatMapToInt(Arrays::stream)
              .toArray();
    } else if (texts == null) {
      all = ids.stream().flatMapToInt(Arrays::stream).toArray();
    } else if (options.enclose() != null) {
      String joined = String.join(options.enclose(), texts);
      all = require(tokenizer).encode(options.enclose() + joined + options.enclose(), false);
    } else {
      all = require(tokenizer).encode(String.join("\n\n", texts), true);
    }
    long limit = options.limitTokens();
    return limit > 0 && all.length > limit ? Arrays.copyOf(all, (int) limit) : all;
  }

  private Tokenizer require(Optional<Tokenizer> tokenizer) {
    return tokenizer.orElseThrow(() ->
        new NanoModelException(
            "Data '%s' is text, but the model has no tokenizer.json; use rows of input_ids (.jsonl or .safetensors)"
                .formatted(name)));
  }
}
