package org.nanomodel.tokenizer;

import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.locks.ReadWriteLock;
import java.util.concurrent.locks.ReentrantReadWriteLock;
import java.util.function.LongFunction;
import java.util.function.LongSupplier;
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
  /** Several times the largest tokenizer.json seen. */
  private static final long MAX_BYTES = 128L << 20;

  private final Path file;
  private final TokenizerFile contents;
  private final TokenizersLibrary library;
  private final TokenizerConfig config;
  private final ReadWriteLock lock = new ReentrantReadWriteLock();
  private long handle;
  private long plainHandle; // the tokenizer without special tokens, made when first needed
  private long markedHandle; // the one whose special tokens are spelled with the mark before them

  /** Not to be guessed, so that no text can bring it. */
  private final String mark = "\uFDD1" + HexFormat.of().toHexDigits(new SecureRandom().nextLong());

  private Tokenizer(Path file, TokenizerFile contents, TokenizerConfig config) {
    this.file = file;
    this.contents = contents;
    this.config = config;
    this.library = HuggingFaceLibrary.get();
    this.handle = create(contents.json());
  }

  /** Opens a directory with a tokenizer.json, or such a file. */
  public static Tokenizer load(Path path) {
    Path file = Files.isDirectory(path) ? path.resolve("tokenizer.json") : path;
    Path directory = file.toAbsolutePath().getParent();
    try {
      TokenizerFile contents = TokenizerFile.parse(TokenizerConfig.text(file, MAX_BYTES));
      return new Tokenizer(file, contents, TokenizerConfig.read(directory));
    } catch (CharacterCodingException e) {
      throw new BadModelException(file + ": not UTF-8 text; expected a tokenizer.json", e);
    } catch (IOException e) {
      throw new BadModelException(file + ": cannot be read as a tokenizer: " + firstLine(e), e);
    }
  }

  /** Refuses a tokenizer whose added tokens are beyond the {@code rows} of a model's embedding. */
  public void requireWithin(int rows) {
    for (var token : contents.added()) {
      if (token.id() >= rows) {
        throw new BadModelException(
            file
                + ": added_tokens: id "
                + token.id()
                + " is beyond the model's embedding; expected ids below vocab_size = "
                + rows
                + " of config.json");
      }
    }
  }

  /** The tokenizer of a model directory, if it has one: a model without works with ids. */
  public static Optional<Tokenizer> find(Path directory) {
    return Files.exists(directory.resolve("tokenizer.json"))
        ? Optional.of(load(directory))
        : Optional.empty();
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

  /**
   * Ids of a text that is put together of parts, some of which may spell special tokens and others
   * not: a prompt with what a user typed in it. A token is never put together of two kinds of
   * parts, and nothing is added around the text; all else is as if it were one text.
   */
  public int[] encode(List<TextPart> parts) {
    if (parts.stream().allMatch(TextPart::special)) {
      return encode(String.join("", parts.stream().map(TextPart::text).toList()), false);
    }
    StringBuilder text = new StringBuilder();
    for (TextPart part : parts) {
      text.append(part.special() ? contents.withMark(part.text(), mark) : part.text());
    }
    openMarked();
    return toIds(whole(text.toString()), false, () -> markedHandle);
  }

  private int[] toIds(String text, boolean addSpecialTokens, boolean plain) {
    if (plain) {
      openPlain();
    }
    return toIds(text, addSpecialTokens, () -> plain ? plainHandle : handle);
  }

  private int[] toIds(String text, boolean addSpecialTokens, LongSupplier which) {
    return use(_ -> {
      long encoding = encodeNatively(which.getAsLong(), text, addSpecialTokens);
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

  private void openMarked() {
    lock.writeLock().lock();
    try {
      if (handle != 0 && markedHandle == 0) {
        markedHandle = create(contents.jsonWithMark(mark));
      }
    } finally {
      lock.writeLock().unlock();
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
    if (config.json().path("add_bos_token").isBoolean() && bosId().isPresent()) {
      int bos = bosId().getAsInt();
      boolean want = config.json().get("add_bos_token").booleanValue();
      boolean has = out.length > 0 && out[0] == bos;
      if (want && !has) {
        out = prepend(bos, out);
      } else if (!want && has && !text.startsWith(config.token("bos_token"))) {
        out = Arrays.copyOfRange(out, 1, out.length);
      }
    }
    if (config.json().path("add_eos_token").asBoolean(false) && eosId().isPresent()) {
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
    return idOf(config.token("bos_token"));
  }

  /** The id of the token that ends a text, if the model has one. */
  public OptionalInt eosId() {
    return idOf(config.token("eos_token"));
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

  /** The spellings of the special tokens. */
  public List<String> specialTokens() {
    return contents.specialTokens();
  }

  /**
   * The Jinja templates that turn messages into a prompt, by name: that of chat_template.jinja, or
   * the one of tokenizer_config.json, is {@code default}; the latter may have others. Empty when
   * there is none.
   */
  public Map<String, String> chatTemplates() {
    return config.chatTemplates();
  }

  /** The one of them that is called default. */
  public Optional<String> chatTemplate() {
    return Optional.ofNullable(config.chatTemplates().get("default"));
  }

  /** The tokens that tokenizer_config.json names: {@code bos_token} to its spelling, and so on. */
  public Map<String, String> specialNames() {
    return config.tokens();
  }

  /** The tokenizer.json that it was read from. */
  public Path file() {
    return file;
  }

  boolean isByteToken(int id) {
    return contents.byteTokens().get(id);
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
      if (markedHandle != 0) {
        library.deleteTokenizer(markedHandle);
        markedHandle = 0;
      }
    } finally {
      lock.writeLock().unlock();
    }
  }
}
