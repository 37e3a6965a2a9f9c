package org.nanomodel.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongFunction;
import org.nanomodel.BadModelException;

/**
 * Text to token ids and back, as Hugging Face's tokenizers do it for a model directory's
 * tokenizer.json. Never truncates, never pads, never reads anything but the directory.
 *
 * <p>{@code add_bos_token} and {@code add_eos_token} of tokenizer_config.json are honoured where
 * they are written down. {@code clean_up_tokenization_spaces} is not: it removes spaces that were
 * in the text.
 *
 * <p>May be used by several threads at once.
 */
public final class Tokenizer implements AutoCloseable {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** Several times the largest tokenizer.json seen. */
  private static final long MAX_BYTES = 128L << 20;

  private static final long MAX_SIDE_BYTES = 16L << 20;

  private final Path file;
  private final TokenizerFile contents;
  private final TokenizersLibrary library;
  private final JsonNode config;
  private final Optional<String> chatTemplate;
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private long handle;
  private long plainHandle; // the tokenizer without special tokens, made when first needed

  private Tokenizer(
      Path file, TokenizerFile contents, JsonNode config, Optional<String> chatTemplate) {
    this.file = file;
    this.contents = contents;
    this.config = config;
    this.chatTemplate = chatTemplate;
    this.library = HuggingFaceLibrary.get();
    this.handle = create(contents.json());
  }

  /** Opens a directory with a tokenizer.json, or such a file. */
  public static Tokenizer load(Path path) {
    Path file = Files.isDirectory(path) ? path.resolve("tokenizer.json") : path;
    Path directory = file.toAbsolutePath().getParent();
    try {
      TokenizerFile contents = TokenizerFile.parse(text(file, MAX_BYTES));
      Path configFile = directory.resolve("tokenizer_config.json");
      JsonNode config =
          Files.exists(configFile) ? readObject(configFile) : MAPPER.createObjectNode();
      return new Tokenizer(file, contents, config, chatTemplate(directory, config));
    } catch (CharacterCodingException e) {
      throw new BadModelException(file + ": not UTF-8 text; expected a tokenizer.json", e);
    } catch (IOException e) {
      throw new BadModelException(file + ": cannot be read as a tokenizer: " + firstLine(e), e);
    }
  }

  /** The tokenizer of a model directory, if it has one: a model without works with ids. */
  public static Optional<Tokenizer> find(Path directory) {
    return Files.exists(directory.resolve("tokenizer.json"))
        ? Optional.of(load(directory))
        : Optional.empty();
  }

  /** The text of a file of bounded size; a pipe or device is not waited for. */
  private static String text(Path file, long most) throws IOException {
    if (!Files.isRegularFile(file)) {
      String what = Files.exists(file) ? "not a regular file" : "no such file";
      throw new BadModelException(file + ": " + what + ", expected a file of the tokenizer");
    }
    if (Files.size(file) > most) {
      throw new BadModelException(
          file + " has " + Files.size(file) + " bytes, expected at most " + most);
    }
    return Files.readString(file);
  }

  private static JsonNode readObject(Path path) throws IOException {
    JsonNode node = MAPPER.readTree(text(path, MAX_SIDE_BYTES));
    if (!node.isObject()) {
      throw new BadModelException(path + ": expected a JSON object, got " + node.getNodeType());
    }
    return node;
  }

  private static Optional<String> chatTemplate(Path directory, JsonNode config) throws IOException {
    Path file = directory.resolve("chat_template.jinja");
    if (Files.exists(file)) {
      return Optional.of(text(file, MAX_SIDE_BYTES));
    }
    JsonNode template = config.path("chat_template");
    if (template.isArray()) {
      for (JsonNode named : template) {
        if (named.path("name").asText().equals("default")) {
          return Optional.ofNullable(named.path("template").textValue());
        }
      }
    }
    return Optional.ofNullable(template.textValue());
  }

  private long create(String json) {
    try {
      long created = library.createTokenizerFromString(json);
      library.disableTruncation(created);
      library.disablePadding(created);
      return created;
    } catch (RuntimeException e) {
      throw new BadModelException(file + ": cannot be read as a tokenizer: " + firstLine(e), e);
    }
  }

  /**
   * Ids of a text with the special tokens that the model expects around it (a BOS, for instance).
   */
  public int[] encode(String text) {
    return encode(text, true);
  }

  /**
   * Ids of a text. Special tokens that the text spells, such as {@code <|im_start|>}, become that
   * token: for text that users typed, see {@link #encodeText}.
   *
   * @param addSpecialTokens whether to add those that the model expects around a text
   */
  public int[] encode(String text, boolean addSpecialTokens) {
    int[] ids = toIds(whole(text), addSpecialTokens, false);
    return addSpecialTokens ? withConfiguredEnds(ids, text) : ids;
  }

  /**
   * Ids of a text in which special tokens have no meaning: {@code <|im_end|>} typed by a user stays
   * a string of characters. Nothing is added around it.
   */
  public int[] encodeText(String text) {
    return toIds(whole(text), false, contents.mentionsSpecial(text));
  }

  private int[] toIds(String text, boolean addSpecialTokens, boolean plain) {
    if (plain) {
      openPlain();
    }
    return use(open -> {
      long encoding = encodeNatively(plain ? plainHandle : open, text, addSpecialTokens);
      try {
        long[] ids = library.getTokenIds(encoding);
        int[] out = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
          out[i] = (int) ids[i];
        }
        return out;
      } finally {
        library.deleteEncoding(encoding);
      }
    });
  }

  private long encodeNatively(long open, String text, boolean addSpecialTokens) {
    try {
      return library.encode(open, text, addSpecialTokens);
    } catch (RuntimeException e) { // the vocabulary lacks what its own rules need
      throw new BadModelException(file + ": cannot tokenize: " + firstLine(e), e);
    }
  }

  private void openPlain() {
    lock.writeLock().lock();
    try {
      if (handle != 0 && plainHandle == 0) {
        plainHandle = create(contents.jsonWithoutSpecial());
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  /**
   * A post-processor in tokenizer.json may differ from what tokenizer_config.json says: the latter
   * wins.
   */
  private int[] withConfiguredEnds(int[] ids, String text) {
    int[] out = ids;
    if (config.path("add_bos_token").isBoolean() && bosId().isPresent()) {
      int bos = bosId().getAsInt();
      boolean want = config.get("add_bos_token").booleanValue();
      boolean has = out.length > 0 && out[0] == bos;
      if (want && !has) {
        out = prepend(bos, out);
      } else if (!want && has && !text.startsWith(token("bos_token"))) {
        out = Arrays.copyOfRange(out, 1, out.length);
      }
    }
    if (config.path("add_eos_token").asBoolean(false) && eosId().isPresent()) {
      int eos = eosId().getAsInt();
      if (out.length == 0 || out[out.length - 1] != eos) {
        out = Arrays.copyOf(out, out.length + 1);
        out[out.length - 1] = eos;
      }
    }
    return out;
  }

  private static int[] prepend(int id, int[] ids) {
    int[] out = new int[ids.length + 1];
    out[0] = id;
    System.arraycopy(ids, 0, out, 1, ids.length);
    return out;
  }

  /**
   * The text of ids. Bytes that are no UTF-8 become U+FFFD; ids that the vocabulary lacks (padded
   * rows of an embedding) become nothing.
   *
   * @param skipSpecialTokens whether special tokens leave no trace in the text
   */
  public String decode(int[] ids, boolean skipSpecialTokens) {
    long[] wide = new long[ids.length];
    for (int i = 0; i < ids.length; i++) {
      if (ids[i] < 0) {
        throw new IllegalArgumentException(
            "Token id " + ids[i] + " at " + i + ": expected 0 or more");
      }
      wide[i] = ids[i];
    }
    return ids.length == 0 ? "" : use(open -> library.decode(open, wide, skipSpecialTokens));
  }

  /** A stream that turns tokens into text as they come. */
  public TokenStream stream(boolean skipSpecialTokens) {
    return new TokenStream(this, skipSpecialTokens, new int[0]);
  }

  /**
   * A stream for tokens that continue others: decoders of the Llama 2 kind drop the space before
   * the first word of a text, but a continuation is not the beginning.
   *
   * @param context the tokens before, such as a prompt; their text is not given again
   */
  public TokenStream stream(boolean skipSpecialTokens, int[] context) {
    return new TokenStream(this, skipSpecialTokens, context);
  }

  /** One more than the largest id. A model may have more rows, for padding. */
  public int vocabSize() {
    return contents.vocabSize();
  }

  /** The id of the token that begins a text, if the model has one. */
  public OptionalInt bosId() {
    return idOf(token("bos_token"));
  }

  /** The id of the token that ends a text, if the model has one. */
  public OptionalInt eosId() {
    return idOf(token("eos_token"));
  }

  /** The id of an added token by its spelling, such as {@code <|im_end|>}. */
  public OptionalInt idOf(String token) {
    int id = token == null ? -1 : contents.idOf(token);
    return id < 0 ? OptionalInt.empty() : OptionalInt.of(id);
  }

  /** Is this id a special token: one that marks structure and is no text? */
  public boolean isSpecial(int id) {
    return contents.isSpecial(id);
  }

  /**
   * The Jinja template that turns messages into a prompt, from chat_template.jinja or
   * tokenizer_config.json.
   */
  public Optional<String> chatTemplate() {
    return chatTemplate;
  }

  boolean isByteToken(int id) {
    return contents.byteTokens().get(id);
  }

  private String token(String key) {
    JsonNode node = config.path(key);
    return node.isObject() ? node.path("content").textValue() : node.textValue();
  }

  /**
   * The text as the library can take it: halves of surrogate pairs are no characters and have no
   * UTF-8.
   */
  private static String whole(String text) {
    TokenizerChecks.checkText(text);
    int at = loneSurrogate(text, 0);
    if (at < 0) {
      return text;
    }
    StringBuilder repaired = new StringBuilder(text);
    for (; at >= 0; at = loneSurrogate(text, at + 1)) {
      repaired.setCharAt(at, '\uFFFD');
    }
    return repaired.toString();
  }

  private static int loneSurrogate(String text, int from) {
    for (int i = from; i < text.length(); i++) {
      char c = text.charAt(i);
      if (Character.isHighSurrogate(c)
          && i + 1 < text.length()
          && Character.isLowSurrogate(text.charAt(i + 1))) {
        i++;
      } else if (Character.isSurrogate(c)) {
        return i;
      }
    }
    return -1;
  }

  private <T> T use(LongFunction<T> call) {
    lock.readLock().lock();
    try {
      if (handle == 0) {
        throw new IllegalStateException("The tokenizer of " + file + " is closed");
      }
      return call.apply(handle);
    } finally {
      lock.readLock().unlock();
    }
  }

  private static String firstLine(Exception e) {
    String message = String.valueOf(e.getMessage());
    String line = message.lines().findFirst().orElse(message);
    return line.replaceAll("[\\p{Cc}\\u2028\\u2029]", "?");
  }

  /** Waits for calls in flight. A second close does nothing. */
  @Override
  public void close() {
    lock.writeLock().lock();
    try {
      if (handle != 0) {
        library.deleteTokenizer(handle);
        handle = 0;
      }
      if (plainHandle != 0) {
        library.deleteTokenizer(plainHandle);
        plainHandle = 0;
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
