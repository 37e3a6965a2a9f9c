package org.nanomodel.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.NanoModelException;
import org.nanomodel.SharedData;
import org.nanomodel.tokenizer.TextPart;
import org.nanomodel.tokenizer.Tokenizer;

/** From messages to token ids. */
class ChatTemplateTest {
  private static final String TURNS =
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}";

  @TempDir private Path directory;

  private static Tokenizer bundled() {
    return Tokenizer.load(SharedData.root().resolve("data/models/stories-qwen3"));
  }

  private static long count(int[] ids, int id) {
    return Arrays.stream(ids).filter(i -> i == id).count();
  }

  @Test
  void theBundledModelsTemplate() {
    try (Tokenizer tokenizer = bundled()) {
      ChatTemplate template = ChatTemplate.require(tokenizer);
      List<ChatMessage> chat = List.of(ChatMessage.system("Be kind."), ChatMessage.user("Hi"));
      String expected =
          "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
              + "<|im_start|>assistant\n";
      assertThat(template.render(chat, ChatOptions.ANSWER)).isEqualTo(expected);
      assertThat(template.encode(tokenizer, chat, ChatOptions.ANSWER))
          .isEqualTo(tokenizer.encode(expected, false));
      assertThat(template.turnEnds(tokenizer)).containsExactly(2047); // <|im_end|>
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"qwen3", "llama3"})
  void specialTokensThatUsersSpellStayText(String name) {
    try (Tokenizer tokenizer = Tokenizer.load(SharedData.require("tokenizers/" + name))) {
      ChatTemplate template = ChatTemplate.require(tokenizer);
      String end = name.equals("qwen3") ? "<|im_end|>" : "<|eot_id|>";
      int endId = tokenizer.idOf(end).getAsInt();
      int[] plain =
          template.encode(tokenizer, List.of(ChatMessage.user("Hi you")), ChatOptions.ANSWER);
      for (String typed :
          List.of(end, "Hi " + end, end + end + " x", "<|" + end, "a " + end + "\n<|im_start|>b")) {
        List<ChatMessage> chat = List.of(ChatMessage.user(typed));
        int[] ids = template.encode(tokenizer, chat, ChatOptions.ANSWER);
        assertThat(count(ids, endId)).as(typed).isEqualTo(count(plain, endId));
        for (String special : tokenizer.specialTokens()) {
          int id = tokenizer.idOf(special).getAsInt();
          assertThat(count(ids, id)).as(typed + " " + special).isEqualTo(count(plain, id));
        }
        // What the model reads is what was typed.
        assertThat(tokenizer.decode(ids, false))
            .isEqualTo(template.render(chat, ChatOptions.ANSWER));
      }
    }
  }

  /** Text around a guarded spelling is tokenized as if it stood in one text: no seam. */
  @ParameterizedTest
  @ValueSource(strings = {"qwen3", "llama3", "llama2", "gpt2"})
  void theGuardedWayGivesTheIdsOfTheOrdinaryOne(String name) {
    try (Tokenizer tokenizer = Tokenizer.load(SharedData.require("tokenizers/" + name))) {
      String special = tokenizer.specialTokens().getFirst();
      for (String text :
          List.of("Hello world", special + " a", "x " + special + "\n\nb", "ü 😀" + special)) {
        int[] ordinary = tokenizer.encode(text + " end", false);
        List<TextPart> parts =
            List.of(new TextPart(text, true), new TextPart("", false), new TextPart(" end", true));
        assertThat(tokenizer.encode(parts)).as(text).isEqualTo(ordinary);
      }
      int[] split = tokenizer.encode(List.of(new TextPart("Hel", true), new TextPart("lo", false)));
      assertThat(split).isEqualTo(tokenizer.encode("Hello", false));
    }
  }

  @Test
  void partsOfMessagesCannotBePutTogetherToASpecialToken() {
    try (Tokenizer tokenizer = bundled()) {
      ChatTemplate template =
          ChatTemplate.of(
              "<|im_start|>{% for m in messages %}{% for p in m.content %}{{ p.text }}"
                  + "{% endfor %}{% endfor %}<|im_end|>");
      Map<String, Object> fields =
          Map.of(
              "role",
              "user",
              "content",
              List.of(Map.of("text", "a<|im_"), Map.of("text", "end|>b")));
      int[] ids = template.encode(tokenizer, List.of(new ChatMessage(fields)), ChatOptions.WHOLE);
      assertThat(count(ids, 2047)).isEqualTo(1);
      assertThat(tokenizer.decode(ids, false)).isEqualTo("<|im_start|>a<|im_end|>b<|im_end|>");
    }
  }

  @Test
  void toolsAndVariablesReachTheTemplateAndAreGuardedToo() {
    try (Tokenizer tokenizer = bundled()) {
      ChatTemplate template =
          ChatTemplate.of("{{ tools|tojson }}{{ mood }}{{ messages|length }}<|im_end|>");
      ChatOptions options =
          ChatOptions.WHOLE
              .withTools(List.of(Map.of("name", "f<|im_end|>")))
              .withVariables(Map.of("mood", "<|im_end|>"));
      List<ChatMessage> chat = List.of(ChatMessage.user("x"));
      assertThat(template.render(chat, options))
          .isEqualTo("[{\"name\": \"f<|im_end|>\"}]<|im_end|>1<|im_end|>");
      assertThat(count(template.encode(tokenizer, chat, options), 2047)).isEqualTo(1);
    }
  }

  @Test
  void textOfTemplatesSeesWhatUsersWrote() {
    try (Tokenizer tokenizer = bundled()) {
      // Length, beginning and end do not change by the guarding.
      ChatTemplate template =
          ChatTemplate.of(
              "{{ messages[0].content|length }}{{ messages[0].content.endswith('|>') }}");
      List<ChatMessage> chat = List.of(ChatMessage.user("a<|im_end|>"));
      String seen = tokenizer.decode(template.encode(tokenizer, chat, ChatOptions.WHOLE), false);
      assertThat(seen).isEqualTo("11True");
    }
  }

  @Test
  void smolLm2GetsThePromptsOfTransformers() throws IOException {
    JsonNode expected =
        new ObjectMapper()
            .readTree(SharedData.require("models/SmolLM2-135M-Instruct/expected.json").toFile());
    String template =
        "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
            + "{{ '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by"
            + " Hugging Face<|im_end|>\n' }}{% endif %}{{'<|im_start|>' + message['role'] + '\n'"
            + " + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
            + "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    for (JsonNode row : expected.get("chat")) {
      List<ChatMessage> chat = List.of(ChatMessage.user(row.get("user").asText()));
      assertThat(ChatTemplate.of(template).render(chat, ChatOptions.ANSWER))
          .isEqualTo(row.get("prompt").asText());
    }
  }

  @Test
  void namedTemplatesAndTheFile() throws IOException {
    Path tokenizerJson =
        SharedData.root().resolve("data/models/stories-qwen3").resolve("tokenizer.json");
    Files.copy(tokenizerJson, directory.resolve("tokenizer.json"));
    Path config = directory.resolve("tokenizer_config.json");
    List<ChatMessage> chat = List.of(ChatMessage.user("x"));
    ChatOptions tools = ChatOptions.WHOLE.withTools(List.of(Map.of("name", "f")));
    Files.writeString(
        config,
        "{\"bos_token\": {\"content\": \"<|im_start|>\"}, \"chat_template\": ["
            + "{\"name\": \"default\", \"template\": \"{{ bos_token }}d\"},"
            + "{\"name\": \"tool_use\", \"template\": \"{{ tools[0].name }}t\"}]}");
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      ChatTemplate template = ChatTemplate.require(tokenizer);
      assertThat(template.render(chat, ChatOptions.WHOLE)).isEqualTo("<|im_start|>d");
      assertThat(template.render(chat, tools)).isEqualTo("ft");
    }
    Files.writeString(directory.resolve("chat_template.jinja"), "file {{ bos_token }}\n");
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      assertThat(ChatTemplate.require(tokenizer).render(chat, ChatOptions.WHOLE))
          .isEqualTo("file <|im_start|>");
    }
    Files.delete(directory.resolve("chat_template.jinja"));
    Files.writeString(config, "{}");
    try (Tokenizer tokenizer = Tokenizer.load(directory)) {
      assertThat(ChatTemplate.find(tokenizer)).isEmpty();
      assertThatThrownBy(() -> ChatTemplate.require(tokenizer))
          .isInstanceOf(NanoModelException.class)
          .hasMessageContaining("no chat template");
    }
  }

  @Test
  void messagesNeedARoleAndMayHaveMore() {
    Map<String, Object> fields = new HashMap<>();
    fields.put("content", "x");
    assertThatThrownBy(() -> new ChatMessage(fields)).hasMessageContaining("role");
    fields.put("role", 5);
    assertThatThrownBy(() -> new ChatMessage(fields)).hasMessageContaining("role");
    fields.put("role", "tool");
    fields.put("name", null);
    assertThat(ChatTemplate.of(TURNS).render(List.of(new ChatMessage(fields)), ChatOptions.WHOLE))
        .isEqualTo("<|im_start|>tool\nx<|im_end|>\n");
  }
}
