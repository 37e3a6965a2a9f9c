package org.nanomodel.cli;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ThreadLocalRandom;
import org.nanomodel.generate.GenerateOptions;
import picocli.CommandLine.Option;

/** How a text is continued. */
final class SamplingFlags {
  @Option(
      names = {"-n", "--max-tokens"},
      paramLabel = "N",
      defaultValue = "256",
      description = "The most new tokens. Default: ${DEFAULT-VALUE}.")
  private int maxTokens;

  @Option(
      names = {"--temp", "--temperature"},
      paramLabel = "T",
      defaultValue = "0",
      description = "0 = the likeliest token each time. Default: ${DEFAULT-VALUE}.")
  private double temperature;

  @Option(names = "--top-k", paramLabel = "K", description = "Of the K likeliest. Default: all.")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1",
      description = "Of the likeliest that make up P together. Default: all.")
  private double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      description = "Of those with at least P times the largest probability. Default: all.")
  private double minP;

  @Option(
      names = "--repeat-penalty",
      paramLabel = "R",
      defaultValue = "1",
      description = "Divides the logits of tokens that occurred. Default: 1, off.")
  private double repeatPenalty;

  @Option(
      names = "--presence-penalty",
      paramLabel = "A",
      description = "Is subtracted from the logits of tokens that the answer has. Default: 0.")
  private double presencePenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "A",
      description = "The same for each time that they occurred. Default: 0.")
  private double frequencyPenalty;

  @Option(
      names = "--logit-bias",
      paramLabel = "ID=B",
      split = ",",
      description =
          "Adds B to the logit of a token; -Infinity bans it. May be given several times.")
  private Map<Integer, Float> logitBias = Map.of();

  @Option(
      names = "--logprobs",
      paramLabel = "N",
      defaultValue = "-1",
      description = "With --json: log probabilities of the tokens and of the N likeliest at each.")
  private int logprobs;

  @Option(
      names = "--n",
      paramLabel = "N",
      defaultValue = "1",
      description = "So many answers to each prompt, from seed, seed + 1, ... Default: 1.")
  private int answers;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of the random draws. Default: another each time.")
  private Long seed;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "Ends the text; not printed. May be given several times.")
  private List<String> stop = List.of();

  int maxTokens() {
    return maxTokens;
  }

  List<String> stop() {
    return stop;
  }

  /** The one that was given, or another each time. */
  long seed() {
    return seed != null ? seed : ThreadLocalRandom.current().nextLong(1L << 31);
  }

  /**
   * @param stopIds tokens that end the text besides the model's own
   * @param stopTexts texts that do; empty where the printing looks for them
   */
  GenerateOptions options(long chosenSeed, List<Integer> stopIds, List<String> stopTexts) {
    return GenerateOptions.builder()
        .maxTokens(maxTokens)
        .temperature(temperature)
        .topK(topK)
        .topP(topP)
        .minP(minP)
        .repeatPenalty(repeatPenalty)
        .presencePenalty(presencePenalty)
        .frequencyPenalty(frequencyPenalty)
        .logitBias(logitBias)
        .logprobs(logprobs)
        .n(answers)
        .seed(chosenSeed)
        .stopIds(stopIds)
        .stop(stopTexts)
        .build();
  }
}
