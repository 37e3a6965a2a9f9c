package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.BadModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.ops.ForwardingOps;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** Seeded random models: what must hold whatever the weights are. */
class CausalModelTest {
  private static final Engine ENGINE = TestEngine.get();

  private static Config config(String family) {
    return TestConfig.parse(
        TestConfig.with(
            TestConfig.family(family),
            "{'head_dim': 16, 'sliding_window': 24, 'attention_bias': true}"));
  }

  private static CausalModel model(String family) {
    Config c = config(family);
    return CausalModel.load(ENGINE, c, MemoryWeights.random(c, 7));
  }

  static int[] ids(int n, int vocab, long seed) {
    return new Random(seed).ints(n, 0, vocab).toArray();
  }

  /**
   * How much two orders of summation may differ: each reduction of length K changes its result by
   * at most K * 2^-24 of the sum of its terms' sizes, and the changes of all reductions on the way
   * to a logit add up; the terms are of the logits' own size, since the weights keep activations
   * near 1.
   */
  private static float tolerance(Config c, float[] logits, int context) {
    long reductions =
        c.layers() * (3L * c.hiddenSize() + c.queryDim() + c.headDim() + context + c.ffnSize())
            + 2L * c.hiddenSize();
    float largest = 0;
    for (float l : logits) {
      largest = Math.max(largest, Math.abs(l));
    }
    return reductions * 0x1p-24f * largest;
  }

  private static float[] logits(CausalModel model, Sequence s, int[] ids, int from, int n) {
    Batch batch = model.newBatch(1, model.config().maxPositions());
    return model.forward(batch.add(s, ids, from, n, Batch.Logits.ALL)).toFloats();
  }

  private static float[] inSteps(CausalModel model, int[] ids, int step) {
    var all = new ArrayList<float[]>();
    try (var cache = model.newCache(model.config().maxPositions());
        var s = cache.newSequence()) {
      for (int at = 0; at < ids.length; at += step) {
        all.add(logits(model, s, ids, at, Math.min(step, ids.length - at)));
      }
    }
    var out = new float[ids.length * model.config().vocabSize()];
    int at = 0;
    for (float[] part : all) {
      System.arraycopy(part, 0, out, at, part.length);
      at += part.length;
    }
    return out;
  }

  @ParameterizedTest
  @ValueSource(strings = {"llama", "mistral", "qwen2", "qwen3"})
  void prefillInOneGoIsTokenByTokenIsARaggedBatch(String family) {
    try (var model = model(family)) {
      int[] a = ids(70, 97, 1);
      int[] b = ids(33, 97, 2);
      float[] whole = inSteps(model, a, 70);
      float[] other = inSteps(model, b, 33);
      float tolerance = tolerance(model.config(), whole, 70);

      assertThat(inSteps(model, a, 1))
          .as("token by token")
          .containsExactly(whole, within(tolerance));
      assertThat(inSteps(model, a, 19)).as("in pieces").containsExactly(whole, within(tolerance));

      try (var cache = model.newCache(200);
          var sa = cache.newSequence();
          var sb = cache.newSequence()) {
        Batch batch = model.newBatch(2, 200);
        model.forward(
            batch.clear().add(sa, a, 0, 50, Batch.Logits.NONE).add(sb, b, 0, 5, Batch.Logits.NONE));
        batch.clear().add(sb, b, 5, 28, Batch.Logits.ALL).add(sa, a, 50, 20, Batch.Logits.LAST);
        float[] got = model.forward(batch).toFloats();
        int v = model.config().vocabSize();
        assertThat(Arrays.copyOf(got, 28 * v))
            .as("second text")
            .containsExactly(Arrays.copyOfRange(other, 5 * v, 33 * v), within(tolerance));
        assertThat(Arrays.copyOfRange(got, 28 * v, 29 * v))
            .as("first text")
            .containsExactly(Arrays.copyOfRange(whole, 69 * v, 70 * v), within(tolerance));
      }
    }
  }

  @Test
  void resultsDoNotDependOnTheNumberOfThreads() {
    Config c = config("qwen3");
    var weights = MemoryWeights.random(c, 3);
    float[] prefill = null;
    float[] decode = null;
    for (int threads : new int[] {1, 2, 3}) {
      try (var engine = Engine.open(EngineOptions.defaults().withThreads(threads));
          var model = CausalModel.load(engine, c, weights)) {
        assertThat(engine.threads()).isEqualTo(threads);
        float[] p = inSteps(model, ids(90, 97, 4), 90);
        float[] d = inSteps(model, ids(20, 97, 4), 1);
        prefill = prefill == null ? p : prefill;
        decode = decode == null ? d : decode;
        assertThat(p).as("prefill on %d threads", threads).isEqualTo(prefill);
        assertThat(d).as("decode on %d threads", threads).isEqualTo(decode);
      }
    }
  }

  @Test
  void aTextLongerThanAStepIsScoredInPieces() {
    try (var model = model("mistral")) {
      int[] text = ids(1100, 97, 5);
      float[] expected = inSteps(model, text, 300);
      var got = new float[expected.length];
      try (var scorer = new Scorer(model, ENGINE.ops(), 1100)) {
        scorer.run(
            text,
            (first, rows) ->
                System.arraycopy(rows.toFloats(), 0, got, first * 97, (int) rows.count()));
        assertThat(got).containsExactly(expected, within(tolerance(model.config(), expected, 24)));

        double[] nll = scorer.nll(text);
        assertThat(nll).hasSize(1099);
        for (int i = 0; i < nll.length; i += 100) {
          assertThat(nll[i]).isCloseTo(nll(got, i * 97, text[i + 1]), within(1e-5));
        }
        assertThat(scorer.nll(new int[] {5})).isEmpty();
      }
    }
  }

  private static double nll(float[] logits, int from, int target) {
    double sum = 0;
    for (int i = 0; i < 97; i++) {
      sum += Math.exp(logits[from + i]);
    }
    return Math.log(sum) - logits[from + target];
  }

  @Test
  void aForkSharesItsBeginningAndGoesItsOwnWay() {
    try (var model = model("llama");
        var cache = model.newCache(400)) {
      int[] common = ids(21, 97, 6);
      int[] left = ids(30, 97, 8);
      int[] right = ids(30, 97, 9);
      Sequence a = cache.newSequence();
      logits(model, a, common, 0, 21);
      Sequence b = a.fork();
      assertThat(cache.usedBlocks()).isEqualTo(2);
      float[] la = logits(model, a, left, 0, 30);
      float[] lb = logits(model, b, right, 0, 30);
      assertThat(cache.usedBlocks()).as("one shared, three each of their own").isEqualTo(1 + 3 + 3);
      b.truncate(21);
      assertThat(logits(model, b, left, 0, 30))
          .as("cut back and continued as the other")
          .isEqualTo(la)
          .isNotEqualTo(lb);
      a.close();
      b.close();
      b.close();
      assertThat(cache.usedBlocks()).isZero();
    }
  }

  @Test
  void aFullCacheSaysSoAndGoesOnAfterASequenceEnds() {
    try (var model = model("llama");
        var cache = model.newCache(500)) {
      int[] text = ids(510, 97, 1);
      Sequence first = cache.newSequence();
      logits(model, first, text, 0, 490);
      Sequence second = cache.newSequence();
      assertThatThrownBy(() -> logits(model, second, text, 0, 40))
          .hasMessageContaining("KV cache is full: 512 tokens");
      first.close();
      assertThat(logits(model, second, text, 0, 40))
          .isEqualTo(inSteps(model, Arrays.copyOf(text, 40), 40));
    }
  }

  @Test
  void weightsThatCannotBeFusedGiveTheSameLogits() {
    Config c = config("qwen2");
    var weights = MemoryWeights.random(c, 11);
    for (String name : List.of("self_attn.k_proj", "mlp.up_proj")) {
      Tensor f32 = weights.tensor("model.layers.0." + name + ".weight");
      Tensor bf16 = Tensor.allocate(java.lang.foreign.Arena.ofAuto(), DataType.BF16, f32.shape());
      ENGINE.ops().convert(bf16, f32);
      ENGINE.ops().convert(f32, bf16); // both hold the same numbers now
    }
    int[] text = ids(40, 97, 1);
    float[] fused;
    try (var model = CausalModel.load(ENGINE, c, weights)) {
      assertThat(model.linears()).hasSize(2 * 4 + 1);
      assertThat(model.linears().getFirst().name())
          .isEqualTo(
              "model.layers.0.self_attn.q_proj+model.layers.0.self_attn.k_proj+model.layers.0.self_attn.v_proj");
      fused = inSteps(model, text, 40);
    }
    for (String name : List.of("self_attn.k_proj", "mlp.up_proj")) {
      Tensor f32 = weights.tensor("model.layers.0." + name + ".weight");
      Tensor bf16 = Tensor.allocate(java.lang.foreign.Arena.ofAuto(), DataType.BF16, f32.shape());
      ENGINE.ops().convert(bf16, f32);
      weights.tensors.put("model.layers.0." + name + ".weight", bf16);
    }
    try (var model = CausalModel.load(ENGINE, c, weights)) {
      assertThat(model.linears().stream().map(Linear::name).limit(3))
          .containsExactly(
              "model.layers.0.self_attn.q_proj",
              "model.layers.0.self_attn.k_proj",
              "model.layers.0.self_attn.v_proj");
      assertThat(model.linears()).hasSize(2 * 4 + 1 + 3);
      assertThat(inSteps(model, text, 40)).containsExactly(fused, within(tolerance(c, fused, 40)));
    }
  }

  @Test
  void blocksRunOneAtATimeGiveTheHiddenStatesOfTheModel() {
    Config c = config("qwen3");
    var weights = MemoryWeights.random(c, 13);
    int[] a = ids(30, 97, 1);
    int[] b = ids(7, 97, 2);
    var states = new ArrayList<float[]>();
    try (var model = CausalModel.load(ENGINE, c, weights);
        var cache = model.newCache(64);
        var sa = cache.newSequence();
        var sb = cache.newSequence()) {
      Batch batch =
          model
              .newBatch(2, 64)
              .add(sa, a, 0, 30, Batch.Logits.NONE)
              .add(sb, b, 0, 7, Batch.Logits.NONE);
      assertThat(model.forward(ENGINE.ops(), batch, (layer, x) -> states.add(x.toFloats())))
          .isNull();
    }
    assertThat(states).hasSize(3);
    try (var arena = java.lang.foreign.Arena.ofConfined();
        var embedding = TokenEmbedding.load(ENGINE, c, weights);
        var runner = new BlockRunner(ENGINE, c, 64, 2)) {
      Tensor x = Tensor.allocate(arena, DataType.F32, 37, c.hiddenSize());
      int[] both = Arrays.copyOf(a, 37);
      System.arraycopy(b, 0, both, 30, 7);
      runner.embed(ENGINE.ops(), embedding, x, Tensor.ofInts(arena, both), 30, 7);
      for (int layer = 0; layer < 2; layer++) {
        assertThat(x.toFloats()).isEqualTo(states.get(layer));
        try (Block block = c.family().blocks().load(ENGINE, c, weights, layer)) {
          runner.run(ENGINE.ops(), block, x, 30, 7);
        }
      }
      assertThat(x.toFloats()).isEqualTo(states.get(2));
    }
  }

  @Test
  void aDecoratorSeesTheInputsOfAllLinears() {
    try (var model = model("llama");
        var cache = model.newCache(16);
        var s = cache.newSequence()) {
      var seen = new ArrayList<String>();
      Ops watching =
          new ForwardingOps(ENGINE.ops()) {
            @Override
            public void linear(Tensor y, Tensor x, Linear w, Tensor residual) {
              seen.addAll(w.modules());
              assertThat(x.cols()).isEqualTo(w.k());
              super.linear(y, x, w, residual);
            }
          };
      model.forward(
          watching, model.newBatch(1, 16).add(s, new int[] {3, 4}, 0, 2, Batch.Logits.LAST));
      var expected = new ArrayList<>(model.config().tree().linears(model.config()).toList());
      expected.add("lm_head");
      assertThat(seen).isEqualTo(expected);
    }
  }

  @Test
  void whatTheConfigPromisesIsChecked() {
    Config c = config("llama");
    for (String name :
        List.of(
            "model.embed_tokens.weight",
            "model.norm.weight",
            "lm_head.weight",
            "model.layers.1.input_layernorm.weight",
            "model.layers.1.self_attn.k_proj.weight",
            "model.layers.1.self_attn.o_proj.bias",
            "model.layers.0.mlp.down_proj.weight")) {
      var missing = MemoryWeights.random(c, 1);
      missing.tensors.remove(name);
      assertThatThrownBy(() -> CausalModel.load(ENGINE, c, missing))
          .as(name)
          .isInstanceOf(BadModelException.class)
          .hasMessageContaining(name)
          .hasMessageContaining("missing");
      if (!name.endsWith("bias")) {
        var wrong = MemoryWeights.random(c, 1);
        Tensor t = wrong.tensors.get(name);
        wrong.tensors.put(name, t.rows(0, t.rows() - 1));
        assertThatThrownBy(() -> CausalModel.load(ENGINE, c, wrong))
            .as(name)
            .isInstanceOf(BadModelException.class)
            .hasMessageContaining(name.replace(".weight", ""))
            .hasMessageContaining("config.json says");
      }
    }
  }

  @Test
  void aTiedHeadIsTheEmbedding() {
    Config tied =
        TestConfig.parse(TestConfig.with(TestConfig.llama(), "{'tie_word_embeddings': true}"));
    Config untied = TestConfig.parse(TestConfig.llama());
    var weights = MemoryWeights.random(tied, 1);
    weights.tensors.remove("lm_head.weight");
    int[] text = ids(10, 97, 1);
    float[] logits;
    try (var model = CausalModel.load(ENGINE, tied, weights)) {
      logits = inSteps(model, text, 10);
    }
    weights.tensors.put("lm_head.weight", weights.tensor("model.embed_tokens.weight"));
    try (var model = CausalModel.load(ENGINE, untied, weights)) {
      assertThat(inSteps(model, text, 10)).isEqualTo(logits);
    }
  }

  @Test
  void badTokensAndFullBatchesAreRefusedBeforeTheyRun() {
    try (var model = model("llama");
        var cache = model.newCache(64);
        var s = cache.newSequence()) {
      Batch batch = model.newBatch(1, 32);
      for (int bad : new int[] {-1, 97, Integer.MAX_VALUE}) {
        assertThatThrownBy(() -> batch.clear().add(s, new int[] {bad}, 0, 1, Batch.Logits.LAST))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("token id " + bad);
      }
      assertThatThrownBy(() -> batch.clear().add(s, new int[40], 0, 40, Batch.Logits.LAST))
          .hasMessageContaining("at most 32 (the context)");
      assertThatThrownBy(() -> batch.clear().add(s, new int[4], 2, 3, Batch.Logits.LAST))
          .isInstanceOf(IndexOutOfBoundsException.class);
      batch.clear().add(s, new int[4], 0, 4, Batch.Logits.LAST);
      assertThatThrownBy(() -> batch.add(s, new int[4], 0, 4, Batch.Logits.LAST))
          .hasMessageContaining("already");
      assertThat(model.forward(batch).rows()).isEqualTo(1);
      assertThat(s.length()).isEqualTo(4);
    }
  }
}
