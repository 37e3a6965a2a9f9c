package org.nanomodel.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.nanomodel.chat.ChatOptions;
import org.nanomodel.chat.ChatTemplate;
import org.nanomodel.tokenizer.Tokenizer;
import picocli.CommandLine.Option;

/** How messages become a prompt. */
final class ChatFlags {
  @Option(
      names = "--system",
      paramLabel = "TEXT",
      description = "The system message of the chat. Default: what the model's template says.")
  private String system;

  @Option(
      names = "--chat-template-file",
      paramLabel = "FILE",
      description = "A Jinja template. Default: the model's.")
  private Path templateFile;

  @Option(
      names = "--chat-template-kwargs",
      paramLabel = "JSON",
      description = "Variables for the template, such as '{\"enable_thinking\": false}'.")
  private String variables;

  boolean given() {
    return system != null || templateFile != null || variables != null;
  }

  /** May be null. */
  String system() {
    return system;
  }

  ChatTemplate template(Tokenizer tokenizer) throws IOException {
    return templateFile == null
        ? ChatTemplate.require(tokenizer)
        : ChatTemplate.of(Files.readString(templateFile), tokenizer);
  }

  ChatOptions options() {
    if (variables == null) {
      return ChatOptions.ANSWER;
    }
    try {
      var type = new TypeReference<Map<String, Object>>() {};
      return ChatOptions.ANSWER.withVariables(new ObjectMapper().readValue(variables, type));
    } catch (JsonProcessingException e) {
      throw new UsageException("--chat-template-kwargs: expected a JSON object, got " + variables);
    }
  }
}
