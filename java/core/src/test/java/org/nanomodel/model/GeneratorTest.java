package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.Request;
import org.nanomodel.ops.Cancel;

/** Here, not in its package, for the sake of the small random model. */
class GeneratorTest {
  private static final Config CONFIG = TestConfig.parse(TestConfig.llama());
  private static CausalModel model;
  private static Generator generator;

  @BeforeAll
  static void load() {
    model = CausalModel.load(TestEngine.get(), CONFIG, MemoryWeights.random(CONFIG, 21));
    generator = new Generator(model);
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static GenerateOptions.Builder options(int maxTokens) {
    return GenerateOptions.builder().maxTokens(maxTokens).ignoreEnd(true);
  }

  @Test
  void greedyTakesTheLargestLogitOfEachStep() {
    int[] prompt = CausalModelTest.ids(9, 97, 1);
    GenerateResult r = generator.generate(prompt, options(12).build());
    assertThat(r.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(r.promptTokens()).isEqualTo(9);
    assertThat(r.completionTokens()).isEqualTo(12);
    assertThat(r.prefillMs()).isPositive();
    assertThat(r.decodeMs()).isPositive();

    int[] all = java.util.Arrays.copyOf(prompt, 21);
    for (int i = 0; i < 12; i++) {
      all[9 + i] = r.ids().get(i);
    }
    var logits = new ArrayList<float[]>();
    try (var scorer = new Scorer(model, model.engine().ops(), 21)) {
      scorer.run(all, (first, rows) -> logits.addAll(rows(rows)));
    }
    for (int i = 0; i < 12; i++) {
      float[] row = logits.get(8 + i);
      float largest = Float.NEGATIVE_INFINITY;
      for (float l : row) {
        largest = Math.max(largest, l);
      }
      assertThat(row[r.ids().get(i)]).as("token %d", i).isGreaterThan(largest - 1e-4f);
    }
  }

  private static List<float[]> rows(org.nanomodel.tensor.Tensor t) {
    var out = new ArrayList<float[]>();
    for (int r = 0; r < t.rows(); r++) {
      out.add(t.rows(r, 1).toFloats());
    }
    return out;
  }

  @Test
  void aSeedGivesOneTextWhateverRunsBesideIt() {
    GenerateOptions warm =
        options(40).temperature(1.2).topK(50).topP(0.95).minP(0.01).seed(42).build();
    int[] prompt = CausalModelTest.ids(5, 97, 2);
    List<Integer> alone = generator.generate(prompt, warm).ids();
    assertThat(generator.generate(prompt, warm).ids()).isEqualTo(alone);
    assertThat(
            generator
                .generate(
                    prompt,
                    options(40).temperature(1.2).topK(50).topP(0.95).minP(0.01).seed(43).build())
                .ids())
        .isNotEqualTo(alone);

    var requests = new ArrayList<Request>();
    for (int i = 0; i < 6; i++) {
      int[] other = CausalModelTest.ids(3 + 130 * i, 97, 50 + i);
      requests.add(
          Request.of(
              i == 3 ? prompt : other,
              i == 3 ? warm : options(10 + i).temperature(0.9).seed(i).build()));
    }
    List<GenerateResult> together = generator.generate(requests);
    assertThat(together.get(3).ids()).isEqualTo(alone);
    for (int i = 0; i < 6; i++) {
      assertThat(together.get(i).completionTokens())
          .isEqualTo(requests.get(i).options().maxTokens());
      assertThat(together.get(i).promptTokens()).isEqualTo(requests.get(i).prompt().length);
    }
  }

  @Test
  void stopTokensEndTheTextAndBelongToIt() {
    int[] prompt = CausalModelTest.ids(9, 97, 1);
    List<Integer> free = generator.generate(prompt, options(12).build()).ids();
    int stop = free.get(3);
    GenerateResult r = generator.generate(prompt, options(12).stopIds(List.of(stop)).build());
    assertThat(r.finishReason()).isEqualTo(FinishReason.STOP);
    assertThat(r.ids()).isEqualTo(free.subList(0, free.indexOf(stop) + 1));
  }

  @Test
  void theModelsOwnEndTokenEndsTheText() {
    int[] prompt = CausalModelTest.ids(9, 97, 1);
    int first = generator.generate(prompt, options(1).build()).ids().getFirst();
    Config ending = TestConfig.parse(TestConfig.llama().put("eos_token_id", first));
    try (var m = CausalModel.load(TestEngine.get(), ending, MemoryWeights.random(CONFIG, 21))) {
      GenerateResult r =
          new Generator(m).generate(prompt, GenerateOptions.builder().maxTokens(12).build());
      assertThat(r.ids()).containsExactly(first);
      assertThat(r.finishReason()).isEqualTo(FinishReason.STOP);
      assertThat(new Generator(m).generate(prompt, options(12).build()).ids()).hasSize(12);
    }
  }

  @Test
  void aListenerSeesEachTokenAndMayEndTheText() {
    var seen = new ArrayList<Integer>();
    GenerateResult r =
        generator.generate(
            new int[] {1},
            options(50).build(),
            id -> seen.add(id) && seen.size() < 5,
            new Cancel());
    assertThat(r.finishReason()).isEqualTo(FinishReason.STOP);
    assertThat(seen).hasSize(5).isEqualTo(r.ids());
  }

  @Test
  void cancelFromAnotherThreadEndsTheTextWithinAToken() throws Exception {
    var cancel = new Cancel();
    var third = new CountDownLatch(3);
    var raised = new CountDownLatch(1);
    var generating =
        CompletableFuture.supplyAsync(() ->
            generator.generate(
                new int[] {1},
                options(1000).build(),
                id -> {
                  third.countDown();
                  if (third.getCount() == 0) {
                    await(raised);
                  }
                  return true;
                },
                cancel));
    third.await();
    cancel.raise();
    raised.countDown();
    GenerateResult r = generating.get();
    assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
    assertThat(r.ids()).hasSize(3);
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void oneCancelledRequestLeavesTheOthersAlone() {
    var cancel = new Cancel();
    GenerateOptions o = options(20).build();
    var first = new Request(new int[] {4, 5}, o, id -> true, new Cancel());
    var second = new Request(new int[] {6}, o, id -> raise(cancel), cancel);
    List<GenerateResult> r = generator.generate(List.of(first, second));
    assertThat(r.get(0).ids()).hasSize(20);
    assertThat(r.get(1).ids()).hasSize(1);
    assertThat(r.get(1).finishReason()).isEqualTo(FinishReason.CANCEL);
  }

  private static boolean raise(Cancel cancel) {
    cancel.raise();
    return true;
  }

  @Test
  void anInterruptedThreadStops() {
    Thread.currentThread().interrupt();
    GenerateResult r = generator.generate(new int[] {1}, options(1000).build());
    assertThat(Thread.interrupted()).as("the flag is left for the caller").isTrue();
    assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
    assertThat(r.ids()).isEmpty();
  }

  @Test
  void theContextIsTheLimit() {
    int[] prompt = CausalModelTest.ids(1195, 97, 3);
    GenerateResult r = generator.generate(prompt, options(100).build());
    assertThat(r.ids()).hasSize(5);
    assertThat(r.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThatThrownBy(() -> generator.generate(new int[1200], options(1).build()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("the prompt has 1200 tokens, expected less than the context of 1200");
    assertThatThrownBy(() -> Request.of(new int[0], options(1).build()))
        .hasMessageContaining("no tokens");
  }

  @Test
  void anEndlessContextCostsNothingUntilItIsUsed() {
    var json = TestConfig.with(TestConfig.llama(), "{'max_position_embeddings': 1073741824}");
    Config endless = TestConfig.parse(json);
    try (var m = CausalModel.load(TestEngine.get(), endless, MemoryWeights.random(CONFIG, 21))) {
      var seen = new ArrayList<Integer>();
      List<GenerateResult> r =
          new Generator(m)
              .generate(
                  List.of(
                      new Request(
                          new int[] {1},
                          options(Integer.MAX_VALUE).build(),
                          id ->
                              seen.add(id)
                                  && seen.size() < 3000, // beyond the first row of the block table
                          new Cancel()),
                      Request.of(new int[] {2}, options(2).build())));
      assertThat(r.get(0).ids()).isEqualTo(seen).hasSize(3000);
      assertThat(r.get(1).ids()).hasSize(2);
    }
  }

  @Test
  void theRepeatPenaltyKeepsTokensFromComingBack() {
    int[] prompt = {3, 4};
    List<Integer> penalized =
        generator.generate(prompt, options(30).repeatPenalty(1e6).build()).ids();
    assertThat(penalized).doesNotHaveDuplicates().doesNotContain(3, 4);
  }

  @Test
  void optionsOutOfRangeAreNamed() {
    assertThatThrownBy(() -> options(0).build()).hasMessageContaining("max_tokens = 0");
    assertThatThrownBy(() -> options(1).temperature(-1).build())
        .hasMessageContaining("temperature = -1");
    assertThatThrownBy(() -> options(1).temperature(Double.NaN).build())
        .hasMessageContaining("temperature = NaN");
    assertThatThrownBy(() -> options(1).topK(-1).build()).hasMessageContaining("top_k = -1");
    assertThatThrownBy(() -> options(1).topP(0).build()).hasMessageContaining("top_p = 0");
    assertThatThrownBy(() -> options(1).minP(2).build()).hasMessageContaining("min_p = 2");
    assertThatThrownBy(() -> options(1).repeatPenalty(0).build())
        .hasMessageContaining("repeat_penalty = 0");
    assertThatThrownBy(() -> options(1).stop(List.of("")).build())
        .hasMessageContaining("empty stop");
  }
}
