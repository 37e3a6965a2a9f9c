import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.SafetensorsWriter;
import org.nanomodel.safetensors.TensorSpec;

/**
 * A Llama of 1.1 billion random weights, to measure speed with: <code>
 * java RandomLlama.java DIR FILE.gguf</code> writes it in bfloat16 as a Hugging Face directory and
 * as GGUF. Speed does not depend on what the weights are; both files have the same. The GGUF has no
 * tokenizer, the directory one of made-up words.
 */
final class RandomLlama {
  private static final int HIDDEN = 2048;
  private static final int LAYERS = 16;
  private static final int FFN = 8192;
  private static final int VOCABULARY = 32000;
  private static final int HEADS = 32;
  private static final int KV_HEADS = 8;
  private static final int CONTEXT = 2048;

  /** A tensor's names in both formats; cols 0 = a vector of ones. */
  private record Weight(String name, String gguf, int rows, int cols) {
    long count() {
      return (long) rows * Math.max(1, cols);
    }
  }

  private final float[] drawn = new float[1 << 20];

  private RandomLlama() {
    var random = new Random(1);
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = (float) random.nextGaussian();
    }
  }

  public static void main(String[] args) throws IOException {
    var llama = new RandomLlama();
    List<Weight> weights = weights();
    Path directory = Files.createDirectories(Path.of(args[0]));
    Files.writeString(directory.resolve("config.json"), config());
    Files.writeString(directory.resolve("tokenizer.json"), tokenizer());
    Files.writeString(
        directory.resolve("tokenizer_config.json"),
        "{\"tokenizer_class\": \"PreTrainedTokenizerFast\", \"bos_token\": \"<s>\", \"eos_token\":"
            + " \"</s>\"}\n");
    Files.writeString(directory.resolve("README.md"), "Random weights, to measure speed with.\n");
    llama.safetensors(directory.resolve("model.safetensors"), weights);
    llama.gguf(Path.of(args[1]), weights);
  }

  private static List<Weight> weights() {
    List<Weight> all = new ArrayList<>();
    all.add(new Weight("model.embed_tokens.weight", "token_embd.weight", VOCABULARY, HIDDEN));
    int kv = HIDDEN / HEADS * KV_HEADS;
    for (int i = 0; i < LAYERS; i++) {
      String hf = "model.layers." + i + ".";
      String gg = "blk." + i + ".";
      all.add(new Weight(hf + "input_layernorm.weight", gg + "attn_norm.weight", HIDDEN, 0));
      all.add(new Weight(hf + "self_attn.q_proj.weight", gg + "attn_q.weight", HIDDEN, HIDDEN));
      all.add(new Weight(hf + "self_attn.k_proj.weight", gg + "attn_k.weight", kv, HIDDEN));
      all.add(new Weight(hf + "self_attn.v_proj.weight", gg + "attn_v.weight", kv, HIDDEN));
      all.add(
          new Weight(hf + "self_attn.o_proj.weight", gg + "attn_output.weight", HIDDEN, HIDDEN));
      all.add(
          new Weight(hf + "post_attention_layernorm.weight", gg + "ffn_norm.weight", HIDDEN, 0));
      all.add(new Weight(hf + "mlp.gate_proj.weight", gg + "ffn_gate.weight", FFN, HIDDEN));
      all.add(new Weight(hf + "mlp.up_proj.weight", gg + "ffn_up.weight", FFN, HIDDEN));
      all.add(new Weight(hf + "mlp.down_proj.weight", gg + "ffn_down.weight", HIDDEN, FFN));
    }
    all.add(new Weight("model.norm.weight", "output_norm.weight", HIDDEN, 0));
    all.add(new Weight("lm_head.weight", "output.weight", VOCABULARY, HIDDEN));
    return all;
  }

  private static String config() {
    return """
    {
      "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
      "hidden_size": %d, "num_hidden_layers": %d, "intermediate_size": %d, "vocab_size": %d,
      "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": %d,
      "max_position_embeddings": %d, "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "hidden_act": "silu",
      "attention_bias": false, "mlp_bias": false, "tie_word_embeddings": false,
      "bos_token_id": 1, "eos_token_id": 2
    }
    """
        .formatted(HIDDEN, LAYERS, FFN, VOCABULARY, HEADS, KV_HEADS, HIDDEN / HEADS, CONTEXT);
  }

  /** Byte-level BPE: specials, bytes, then words that grow letter by letter. */
  private static String tokenizer() {
    List<String> vocabulary = new ArrayList<>(List.of("<unk>", "<s>", "</s>"));
    List<String> letters = new ArrayList<>();
    for (int b = 0, beyond = 0; b < 256; b++) { // the alphabet of byte-level BPE
      boolean printable = b > 32 && b < 127 || b > 160 && b != 173;
      vocabulary.add(String.valueOf((char) (printable ? b : 256 + beyond++)));
    }
    for (char c = 'a'; c <= 'z'; c++) {
      letters.add(String.valueOf(c));
    }
    List<String> merges = new ArrayList<>();
    for (List<String> words = letters; vocabulary.size() < VOCABULARY; ) {
      List<String> longer = new ArrayList<>();
      for (String word : words) {
        for (String letter : letters) {
          if (vocabulary.size() < VOCABULARY) {
            merges.add("\"" + word + " " + letter + "\"");
            vocabulary.add(word + letter);
            longer.add(word + letter);
          }
        }
      }
      words = longer;
    }
    var json =
        new StringBuilder(
            "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": [");
    for (int i = 0; i < 3; i++) {
      json.append(i == 0 ? "" : ", ")
          .append(
              "{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, "
                  .formatted(i, vocabulary.get(i)))
          .append("\"rstrip\": false, \"normalized\": false, \"special\": true}");
    }
    json.append(
            "], \"normalizer\": null, \"pre_tokenizer\": {\"type\": \"ByteLevel\","
                + " \"add_prefix_space\": false, ")
        .append(
            "\"trim_offsets\": true, \"use_regex\": true}, \"post_processor\": null, \"decoder\":"
                + " {\"type\": ")
        .append(
            "\"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\":"
                + " true}, ")
        .append(
            "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, \"fuse_unk\":"
                + " false, ")
        .append("\"byte_fallback\": false, \"vocab\": {");
    for (int i = 0; i < vocabulary.size(); i++) {
      String word = vocabulary.get(i).replace("\\", "\\\\").replace("\"", "\\\"");
      json.append(i == 0 ? "" : ", ").append('"').append(word).append("\": ").append(i);
    }
    return json.append("}, \"merges\": [")
        .append(String.join(", ", merges))
        .append("]}}\n")
        .toString();
  }

  /** A tensor's numbers in bfloat16, in a buffer that the next one overwrites. */
  private MemorySegment data(MemorySegment buffer, Weight weight) {
    MemorySegment data = buffer.asSlice(0, 2 * weight.count());
    int shift = Math.floorMod(weight.name.hashCode(), drawn.length);
    float scale = (float) (1 / Math.sqrt(Math.max(1, weight.cols)));
    for (long i = 0; i < weight.count(); i++) {
      float value =
          weight.cols == 0 ? 1 : scale * drawn[(int) ((shift + i + (i >> 20)) & drawn.length - 1)];
      data.set(JAVA_SHORT, 2 * i, (short) (Float.floatToRawIntBits(value) >>> 16));
    }
    return data;
  }

  private static MemorySegment buffer(Arena arena, List<Weight> weights) {
    return arena.allocate(2 * weights.stream().mapToLong(Weight::count).max().orElseThrow(), 64);
  }

  private void safetensors(Path file, List<Weight> weights) {
    List<TensorSpec> plan = new ArrayList<>();
    for (Weight w : weights) {
      plan.add(
          w.cols == 0
              ? new TensorSpec(w.name, DType.BF16, w.rows)
              : new TensorSpec(w.name, DType.BF16, w.rows, w.cols));
    }
    try (var arena = Arena.ofConfined();
        var writer = SafetensorsWriter.create(file, plan)) {
      MemorySegment buffer = buffer(arena, weights);
      for (Weight w : weights) {
        writer.put(w.name, data(buffer, w));
      }
      writer.finish();
    }
  }

  // ---- GGUF, version 3: header, keys, descriptions of tensors, data; all aligned to 32 ----

  private static final int UINT32 = 4;
  private static final int FLOAT32 = 6;
  private static final int STRING = 8;
  private static final int TYPE_F32 = 0;
  private static final int TYPE_BF16 = 30;
  private static final int ALIGNMENT = 32;

  private void gguf(Path file, List<Weight> weights) throws IOException {
    byte[] header = ggufHeader(weights);
    try (var arena = Arena.ofConfined();
        FileChannel out =
            FileChannel.open(
                file,
                StandardOpenOption.CREATE,
                StandardOpenOption.WRITE,
                StandardOpenOption.TRUNCATE_EXISTING)) {
      MemorySegment buffer = buffer(arena, weights);
      out.write(ByteBuffer.wrap(header));
      for (Weight w : weights) {
        MemorySegment data = w.cols == 0 ? ones(arena, w.rows) : data(buffer, w);
        for (ByteBuffer b = data.asByteBuffer(); b.hasRemaining(); ) {
          out.write(b);
        }
      }
    }
  }

  private static MemorySegment ones(Arena arena, int count) { // norms must be f32 there
    MemorySegment data = arena.allocate(4L * count);
    for (int i = 0; i < count; i++) {
      data.set(java.lang.foreign.ValueLayout.JAVA_FLOAT, 4L * i, 1);
    }
    return data;
  }

  private static byte[] ggufHeader(List<Weight> weights) {
    var keys = new Words();
    int[] count = {0};
    keys.key("general.architecture", STRING, count).text("llama");
    keys.key("general.name", STRING, count).text("random");
    keys.key("llama.context_length", UINT32, count).number(CONTEXT);
    keys.key("llama.embedding_length", UINT32, count).number(HIDDEN);
    keys.key("llama.block_count", UINT32, count).number(LAYERS);
    keys.key("llama.feed_forward_length", UINT32, count).number(FFN);
    keys.key("llama.attention.head_count", UINT32, count).number(HEADS);
    keys.key("llama.attention.head_count_kv", UINT32, count).number(KV_HEADS);
    keys.key("llama.attention.layer_norm_rms_epsilon", FLOAT32, count)
        .number(Float.floatToRawIntBits(1e-5f));
    keys.key("llama.rope.dimension_count", UINT32, count).number(HIDDEN / HEADS);
    keys.key("llama.vocab_size", UINT32, count).number(VOCABULARY);
    keys.key("tokenizer.ggml.model", STRING, count).text("none");
    var tensors = new Words();
    long at = 0;
    for (Weight w : weights) { // every tensor's size is a multiple of the alignment
      boolean vector = w.cols == 0;
      tensors.text(w.gguf).number(vector ? 1 : 2);
      if (!vector) {
        tensors.wide(w.cols);
      }
      tensors.wide(w.rows).number(vector ? TYPE_F32 : TYPE_BF16).wide(at);
      at += vector ? 4 * w.count() : 2 * w.count();
    }
    var header = new Words();
    header.number(0x46554747).number(3).wide(weights.size()).wide(count[0]); // "GGUF"
    header.bytes.writeBytes(keys.bytes.toByteArray());
    header.bytes.writeBytes(tensors.bytes.toByteArray());
    while (header.bytes.size() % ALIGNMENT != 0) {
      header.bytes.write(0);
    }
    return header.bytes.toByteArray();
  }

  /** Little-endian. */
  private static final class Words {
    final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Words number(int value) {
      bytes.writeBytes(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array());
      return this;
    }

    Words wide(long value) {
      bytes.writeBytes(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array());
      return this;
    }

    Words text(String text) {
      byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
      wide(utf8.length).bytes.writeBytes(utf8);
      return this;
    }

    Words key(String name, int type, int[] count) {
      count[0]++;
      return text(name).number(type);
    }
  }
}
