package org.nanomodel.model;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.Activation;
import org.nanomodel.tensor.DataType;

/**
 * What a graph has to know of a model: config.json of transformers 4 or 5 with its defaults filled
 * in, and the end tokens of generation_config.json. Every field was checked; the shapes of tensors
 * are checked against it when they are loaded.
 *
 * @param modelType {@code llama}, a key of {@link ModelRegistry}
 * @param architecture {@code LlamaForCausalLM}
 * @param hiddenSize dim, the width of the hidden states
 * @param embeddingSize the width of the embeddings; OPT projects narrower ones
 * @param ffnSize the inner width of the MLP
 * @param layers number of blocks
 * @param heads query heads H
 * @param kvHeads key/value heads KV, a divisor of H
 * @param headDim D
 * @param vocabSize V
 * @param maxPositions the context that the model was made for
 * @param normEps of the norms
 * @param preNorm whether a block norms what it reads, rather than what it wrote
 * @param finalNorm whether a norm follows the last block
 * @param activation of the MLP
 * @param biases which linears have one
 * @param tiedEmbeddings whether the embedding serves as head
 * @param layer per block: window, scale and rotary settings
 * @param dtype of the weights, as the config says
 * @param eosIds tokens that end a text: of generation_config.json, else of config.json
 * @param bosId the token that begins a text, if any
 * @param padId the filler, if any
 */
public record Config(
    String modelType,
    String architecture,
    int hiddenSize,
    int embeddingSize,
    int ffnSize,
    int layers,
    int heads,
    int kvHeads,
    int headDim,
    int vocabSize,
    int maxPositions,
    float normEps,
    boolean preNorm,
    boolean finalNorm,
    Activation activation,
    Biases biases,
    boolean tiedEmbeddings,
    List<Layer> layer,
    DataType dtype,
    List<Integer> eosIds,
    OptionalInt bosId,
    OptionalInt padId) {

  private static final long MAX_FILE_BYTES = 16 << 20;

  /** Whether q/k/v, o, and the MLP's linears have a bias. */
  public record Biases(boolean qkv, boolean output, boolean mlp) {}

  /**
   * What may differ from block to block.
   *
   * @param window a token sees the last so many positions, its own included; 0 = all
   * @param attentionScale of the products of queries and keys
   * @param rope rotary settings; empty where positions are embedded
   */
  public record Layer(int window, float attentionScale, Optional<RopeConfig> rope) {}

  /** Reads config.json and, if it is there, generation_config.json of a model's folder. */
  public static Config load(Path directory) {
    Path generation = directory.resolve("generation_config.json");
    return parse(
        read(directory.resolve("config.json")),
        Files.exists(generation) ? read(generation) : null,
        directory.resolve("config.json").toString());
  }

  /**
   * Parses config.json.
   *
   * @param generation generation_config.json, or null
   * @param file what to call config.json in errors
   */
  public static Config parse(byte[] config, byte[] generation, String file) {
    return new ConfigParser(file, config, generation).parse();
  }

  private static byte[] read(Path file) {
    if (!Files.isRegularFile(file)) {
      throw new BadModelException(
          file
              + ": "
              + (Files.exists(file) ? "not a regular file" : "no such file")
              + ", expected the model's configuration");
    }
    try {
      if (Files.size(file) > MAX_FILE_BYTES) {
        throw new BadModelException(
            file + " has " + Files.size(file) + " bytes, expected at most " + MAX_FILE_BYTES);
      }
      return Files.readAllBytes(file);
    } catch (IOException e) {
      throw new BadModelException(file + ": cannot be read: " + e, e);
    }
  }

  /** H * D: the width of queries and of the attention's output. */
  public int queryDim() {
    return heads * headDim;
  }

  /** KV * D: the width of keys, and of values. */
  public int kvDim() {
    return kvHeads * headDim;
  }

  /** The family that serves this model. */
  public Family family() {
    return ModelRegistry.family(modelType);
  }

  /** The names of its modules. */
  public ModuleTree tree() {
    return family().tree();
  }
}
