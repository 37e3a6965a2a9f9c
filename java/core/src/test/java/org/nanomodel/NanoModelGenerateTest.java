package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generation;
import org.nanomodel.generate.Request;
import org.nanomodel.ops.Cancel;

/** What a user does with a model that writes, on the bundled model. */
class NanoModelGenerateTest {
  private static final String PROMPT = "Once upon a time";
  private static NanoModel model;

  @BeforeAll
  static void load() {
    assumeThat(SharedData.root().resolve("data/models/stories-qwen3"))
        .as("the bundled model")
        .matches(Files::exists);
    model = AutoNanoModel.load("stories-qwen3");
  }

  @AfterAll
  static void close() {
    if (model != null) {
      model.close();
    }
  }

  private static GenerateOptions.Builder options(int maxTokens) {
    return GenerateOptions.builder().maxTokens(maxTokens);
  }

  @Test
  void theResultHasTextTokensReasonAndTimes() {
    GenerateResult r = model.generateResult(PROMPT, options(12).logprobs(3).build());
    assertThat(r.text()).startsWith(", there was");
    assertThat(r.text()).isEqualTo(model.generate(PROMPT, options(12).build()));
    assertThat(r.ids())
        .hasSize(12)
        .isEqualTo(model.generate(model.encode(PROMPT), options(12).build()).ids());
    assertThat(r.finishReason()).isEqualTo(FinishReason.LENGTH);
    assertThat(r.promptTokens()).isEqualTo(model.tokenCount(PROMPT)).isEqualTo(4);
    assertThat(r.prefillMs()).isPositive();
    assertThat(r.decodeMs()).isPositive();
    assertThat(r.logprobs())
        .hasSize(12)
        .allSatisfy(p -> {
          assertThat(p.top()).hasSize(3);
          assertThat(p.top().getFirst().id()).as("greedy").isEqualTo(p.id());
          assertThat(p.logprob()).isNegative();
        });
    assertThat(model.decode(model.encode(PROMPT))).isEqualTo(PROMPT);
  }

  @Test
  void aStreamIsTheTextInPieces() {
    GenerateOptions warm = options(80).temperature(0.9).seed(5).build();
    String whole = model.generate(PROMPT, warm);
    var called = new StringBuilder();
    GenerateResult r = model.stream(PROMPT, warm, called::append);
    assertThat(called.toString()).isEqualTo(whole).isEqualTo(r.text());
    var iterated = new ArrayList<String>();
    try (Generation g = model.submit(PROMPT, warm)) {
      g.forEach(iterated::add);
    }
    assertThat(String.join("", iterated)).isEqualTo(whole);
    assertThat(iterated).hasSizeGreaterThan(40).doesNotContain("");
    var late = new StringBuilder(); // read again when all is there
    Generation g = model.submit(PROMPT, warm);
    g.result();
    g.pieces().forEachRemaining(p -> late.append(p.text()));
    assertThat(late.toString()).isEqualTo(whole);
  }

  @Test
  void stopTextsEndEachOfABatchWhereverTokensCutThem() {
    var prompts = List.of(PROMPT, "One day, a dragon", "The cat", PROMPT + " there");
    GenerateOptions free = options(60).temperature(0.8).seed(2).build();
    List<String> texts = prompts.stream().map(p -> model.generate(p, free)).toList();
    for (int length : new int[] {1, 3, 9}) { // of letters from the middle of the first text
      String stop = texts.getFirst().substring(20, 20 + length);
      var stopping = options(60).temperature(0.8).seed(2).stop(List.of("@@@", stop)).build();
      List<GenerateResult> r = model.generate(prompts, stopping);
      for (int i = 0; i < prompts.size(); i++) {
        int at = texts.get(i).indexOf(stop);
        assertThat(r.get(i).text())
            .isEqualTo(at < 0 ? texts.get(i) : texts.get(i).substring(0, at));
        if (at >= 0) {
          assertThat(r.get(i).finishReason()).isEqualTo(FinishReason.STOP);
          assertThat(r.get(i).completionTokens()).isLessThanOrEqualTo(60);
        }
      }
      assertThat(r.getFirst().text().length()).isLessThan(21);
      var pieces = new StringBuilder();
      model.stream(prompts.getFirst(), stopping, pieces::append);
      assertThat(pieces.toString()).isEqualTo(r.getFirst().text());
    }
  }

  @Test
  void manyPromptsAtOnceAreAnsweredAsEachAlone() {
    var prompts = IntStream.range(0, 12).mapToObj(i -> PROMPT + " there was".repeat(i)).toList();
    GenerateOptions warm = options(24).temperature(1.0).seed(9).n(2).build();
    List<GenerateResult> together = model.generate(prompts, warm);
    assertThat(together).hasSize(24);
    for (int i = 0; i < 24; i++) {
      var single = options(24).temperature(1.0).seed(9 + i % 2).build();
      assertThat(together.get(i).text()).isEqualTo(model.generate(prompts.get(i / 2), single));
    }
  }

  @Test
  void threadsShareTheModel() {
    GenerateOptions greedy = options(20).build();
    String expected = model.generate(PROMPT, greedy);
    List<String> texts =
        IntStream.range(0, 6).parallel().mapToObj(i -> model.generate(PROMPT, greedy)).toList();
    assertThat(texts).containsOnly(expected);
  }

  /**
   * Values of transformers 5.18.0 with torch 2.13.0 on a CPU: AutoModel of the bundled model in
   * float32, last_hidden_state of the tokenizer's ids; last row, and mean of the rows in float64:
   * the first eight values and the length.
   */
  @Test
  void embeddingsAreThoseOfTransformers() {
    List<String> texts = List.of(PROMPT, "The dog ran to the park and found a big red ball.");
    check(
        model.embed(texts.get(0), Pooling.LAST),
        25.113611,
        1.228092f,
        2.472613f,
        -0.902025f,
        -0.971241f,
        -0.902963f,
        -1.547411f,
        -0.715903f,
        2.610505f);
    check(
        model.embed(texts.get(0), Pooling.MEAN),
        17.596830,
        0.490260f,
        1.050053f,
        -0.840426f,
        2.562983f,
        -0.625197f,
        -0.434038f,
        0.130343f,
        1.341675f);
    check(
        model.embed(texts.get(1), Pooling.LAST),
        24.845232,
        0.125300f,
        -1.721066f,
        0.256125f,
        1.707130f,
        -1.279493f,
        -0.646436f,
        0.057008f,
        -0.290123f);
    check(
        model.embed(texts.get(1), Pooling.MEAN),
        14.180078,
        0.190096f,
        -1.246006f,
        -0.147778f,
        1.374790f,
        0.434247f,
        0.333931f,
        0.378481f,
        -0.091349f);
    List<float[]> unit = model.embed(texts, Pooling.MEAN, true);
    assertThat(length(unit.get(0))).isCloseTo(1, org.assertj.core.data.Offset.offset(1e-6));
    assertThat(model.embed(List.of(), Pooling.LAST, false)).isEmpty();
  }

  private static void check(float[] x, double length, float... first) {
    assertThat(x).hasSize(256);
    for (int i = 0; i < first.length; i++) {
      assertThat(x[i]).isCloseTo(first[i], org.assertj.core.data.Offset.offset(1e-4f));
    }
    assertThat(length(x)).isCloseTo(length, org.assertj.core.data.Offset.offset(1e-3));
  }

  private static double length(float[] x) {
    return Math.sqrt(IntStream.range(0, x.length).mapToDouble(i -> (double) x[i] * x[i]).sum());
  }

  @Test
  void anEmbeddingDoesNotDependOnTheTextsBesideIt() {
    var texts = IntStream.range(0, 40).mapToObj(i -> PROMPT + " there was".repeat(i % 30)).toList();
    for (Pooling pooling : Pooling.values()) {
      List<float[]> together = model.embed(texts, pooling, false);
      for (int i = 0; i < texts.size(); i += 7) {
        assertThat(model.embed(texts.get(i), pooling)).isEqualTo(together.get(i));
      }
    }
  }

  @Test
  void closingCancelsTextsAndLetsListenersFinish() throws Exception {
    var own = AutoNanoModel.load("stories-qwen3");
    var started = new CountDownLatch(3);
    Request endless =
        new Request(
            own.encode(PROMPT),
            options(100_000).ignoreEnd(true).build(),
            id -> {
              started.countDown();
              return own.config().vocabSize() > 0; // a listener may ask while close waits
            },
            new Cancel());
    Generation g = own.submit(endless);
    started.await();
    var closing = new Thread(own::close);
    closing.start();
    GenerateResult r = null;
    try {
      r = g.result();
    } catch (IllegalStateException e) {
      assertThat(e).hasMessage("the model is closed"); // what the listener was told
    }
    closing.join();
    if (r != null) {
      assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
      assertThat(r.text()).startsWith(", there");
    }
    assertThatThrownBy(() -> own.submit(PROMPT, options(1).build()))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> own.embed(PROMPT, Pooling.LAST))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> own.tokenCount(PROMPT)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void aListenerCannotCloseTheModel() {
    Request closing =
        new Request(
            model.encode(PROMPT),
            options(5).build(),
            id -> {
              model.close();
              return true;
            },
            new Cancel());
    assertThatThrownBy(() -> model.submit(closing).result())
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("cannot be closed by a listener");
    assertThat(model.generate(PROMPT, options(3).build())).isNotEmpty();
  }
}
