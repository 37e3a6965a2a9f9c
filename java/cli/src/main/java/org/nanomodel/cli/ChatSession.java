package org.nanomodel.cli;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.util.List;
import org.nanomodel.NanoModel;
import org.nanomodel.chat.TemplateException;
import org.nanomodel.generate.Conversation;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Request;
import org.nanomodel.ops.Cancel;
import org.nanomodel.tokenizer.Tokenizer;

/** A chat under way: reads lines, answers messages, obeys commands. */
final class ChatSession {
  private static final String HELP =
      """
      /clear        forgets what was said
      /system TEXT  begins anew with another system message
      /help         shows this
      /exit         ends the chat; so does the end of the input (Ctrl-D)
      A line that ends with \\ goes on with the next; // begins a line with /.
      Ctrl-C stops the answer; at the prompt it ends the chat.\
      """;

  private final Console console;
  private final NanoModel model;
  private final Conversation conversation;
  private final Tokenizer tokenizer;
  private final ChatHistory history;
  private final List<Integer> ends;
  private final SamplingFlags sampling;
  private final TurnSignal signal;
  private final BufferedReader in;
  private long seed;

  /**
   * @param ends tokens that end an answer besides the model's own
   */
  ChatSession(
      Console console,
      NanoModel model,
      Conversation conversation,
      ChatHistory history,
      List<Integer> ends,
      SamplingFlags sampling,
      TurnSignal signal) {
    this.console = console;
    this.model = model;
    this.conversation = conversation;
    this.tokenizer = model.tokenizer().orElseThrow();
    this.history = history;
    this.ends = ends;
    this.sampling = sampling;
    this.signal = signal;
    this.in = new BufferedReader(new InputStreamReader(System.in, charset()));
    this.seed = sampling.seed();
  }

  /** A terminal may have another charset than UTF-8; pipes and files are UTF-8. */
  private Charset charset() {
    String name = System.getProperty("stdin.encoding");
    return name != null && console.terminal() ? Charset.forName(name) : StandardCharsets.UTF_8;
  }

  /**
   * Runs to the end of the input, or to /exit.
   *
   * @param first message; null = read it
   */
  void run(String first) throws IOException {
    String message = first != null ? first : read();
    while (message != null && !console.cancel().isRaised()) {
      if (message.startsWith("/") && !message.startsWith("//")) {
        if (!command(message.strip())) {
          return;
        }
      } else if (!message.isBlank()) {
        answer(message.startsWith("//") ? message.substring(1) : message);
      }
      message = read();
    }
  }

  private String read() throws IOException {
    ask("> ");
    StringBuilder all = new StringBuilder();
    String line = in.readLine();
    while (line != null && line.endsWith("\\")) {
      all.append(line, 0, line.length() - 1).append('\n');
      ask("  ");
      line = in.readLine();
    }
    if (line == null) {
      ask(System.lineSeparator());
    }
    return line == null && all.isEmpty() ? null : all.append(line == null ? "" : line).toString();
  }

  private void ask(String sign) {
    if (console.terminal()) {
      console.write(sign);
    }
  }

  /** Whether to go on. */
  private boolean command(String line) {
    String[] words = line.split("\\s+", 2);
    switch (words[0]) {
      case "/exit", "/quit", "/bye" -> {
        return false;
      }
      case "/clear" -> history.clear();
      case "/system" -> history.system(words.length > 1 ? words[1] : null);
      case "/help", "/?" -> console.note(HELP);
      default -> console.note("There is no command %s; /help shows them", words[0]);
    }
    return true;
  }

  private void answer(String message) {
    history.user(message);
    Cancel cancel = signal.begin();
    try {
      generate(cancel);
    } catch (TemplateException | IllegalArgumentException e) {
      history.takeBack();
      console.error("nanomodel: " + e.getMessage());
    } finally {
      signal.end();
    }
  }

  private void generate(Cancel cancel) {
    int context = model.config().maxPositions();
    ChatHistory.Prompt prompt = history.prompt(context, sampling.maxTokens());
    if (prompt.forgotten() > 0) {
      console.note("(forgot the %d oldest messages: the context is full)", prompt.forgotten());
    }
    TextOut text = new TextOut(console, tokenizer, prompt.ids(), sampling.stop());
    var request =
        new Request(prompt.ids(), sampling.options(seed++, ends, List.of()), text::add, cancel);
    GenerateResult result = conversation.generate(request);
    text.finish();
    console.write(System.lineSeparator());
    if (cancel.isRaised()) {
      console.note("(stopped)");
    }
    if (console.verbose()) {
      console.note(
          "(%d + %d tokens, prompt %.0f ms, %.0f tokens/s, %s)",
          result.promptTokens(),
          result.completionTokens(),
          result.prefillMs(),
          result.decodeTps(),
          result.finishReason());
    }
    history.assistant(text.text());
    console.documentLine(json(result, text.text()));
  }

  private static ObjectNode json(GenerateResult result, String text) {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("role", "assistant").put("content", text);
    json.put("finish_reason", result.finishReason().toString());
    json.put("prompt_tokens", result.promptTokens());
    json.put("completion_tokens", result.completionTokens());
    json.put("prefill_ms", result.prefillMs());
    json.put("decode_ms", result.decodeMs());
    json.put("decode_tps", result.decodeTps());
    return json;
  }
}
