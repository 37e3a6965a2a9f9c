package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.AtomicReferenceArray;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generation;
import org.nanomodel.generate.GenerationLoop;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.LoopOptions;
import org.nanomodel.generate.Request;
import org.nanomodel.generate.TokenListener;
import org.nanomodel.ops.Cancel;

/** Here, not in its package, for the sake of the small random model. */
class GenerationLoopTest {
  private static final Config CONFIG = TestConfig.parse(TestConfig.llama());
  private static CausalModel model;

  @BeforeAll
  static void load() {
    model = CausalModel.load(TestEngine.get(), CONFIG, MemoryWeights.random(CONFIG, 21));
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static GenerationLoop loop(LoopOptions options) {
    return new GenerationLoop(model, Optional.empty(), options);
  }

  private static GenerationLoop loop() {
    return loop(LoopOptions.defaults());
  }

  private static GenerateOptions.Builder options(int maxTokens) {
    return GenerateOptions.builder().maxTokens(maxTokens).ignoreEnd(true);
  }

  private static List<Integer> alone(int[] prompt, GenerateOptions options) {
    return new Generator(model).generate(prompt, options).ids();
  }

  private static Request listening(int[] prompt, GenerateOptions options, TokenListener listener) {
    return new Request(prompt, options, listener, new Cancel());
  }

  /** Requests of different lengths, seeds and settings. */
  private static List<Request> eight() {
    var settings =
        List.of(
            options(60),
            options(33).temperature(1.1).seed(1),
            options(47).temperature(0.8).topK(20).seed(2),
            options(5).temperature(1.3).topP(0.9).seed(3),
            options(80).temperature(1.0).minP(0.02).seed(4),
            options(25).repeatPenalty(1.4).presencePenalty(0.5).frequencyPenalty(0.3),
            options(40).temperature(1.5).logitBias(Map.of(3, 2f, 7, -2f)).seed(5),
            options(64).temperature(0.7).repeatPenalty(1.2).logprobs(2).seed(6));
    int[] lengths = {1, 300, 17, 16, 33, 650, 2, 129};
    var requests = new ArrayList<Request>();
    for (int i = 0; i < 8; i++) {
      requests.add(
          Request.of(CausalModelTest.ids(lengths[i], 97, 70 + i), settings.get(i).build()));
    }
    return requests;
  }

  /** Submits the next request at the third token of the one before. */
  private static List<GenerateResult> staggered(GenerationLoop loop, List<Request> requests) {
    // By number: the third token of one may come before its own submit has returned.
    var handles = new AtomicReferenceArray<Generation>(requests.size());
    var all = new CountDownLatch(requests.size());
    submit(loop, requests, 0, handles, all);
    join(all);
    return IntStream.range(0, requests.size()).mapToObj(i -> handles.get(i).result()).toList();
  }

  private static void submit(
      GenerationLoop loop,
      List<Request> requests,
      int i,
      AtomicReferenceArray<Generation> to,
      CountDownLatch all) {
    if (i < requests.size()) {
      var tokens = new AtomicInteger();
      Request r = requests.get(i);
      TokenListener third =
          id -> {
            if (tokens.incrementAndGet() == 3) {
              submit(loop, requests, i + 1, to, all);
            }
            return true;
          };
      to.set(i, loop.submit(listening(r.prompt(), r.options(), third)));
      all.countDown();
    }
  }

  private static void join(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void assertAsAlone(List<GenerateResult> results, List<Request> requests) {
    for (int i = 0; i < requests.size(); i++) {
      Request r = requests.get(i);
      assertThat(results.get(i).ids())
          .as("request %d", i)
          .isEqualTo(alone(r.prompt(), r.options()));
      assertThat(results.get(i).finishReason()).isEqualTo(FinishReason.LENGTH);
      assertThat(results.get(i).completionTokens()).isEqualTo(r.options().maxTokens());
    }
  }

  @Test
  void eachOfEightRequestsThatComeAndGoIsAnsweredAsIfAlone() {
    try (var loop = loop()) {
      assertAsAlone(staggered(loop, eight()), eight());
      assertThat(loop.stats().preemptions()).isZero();
      assertThat(loop.stats().usedBlocks()).isZero();
    }
  }

  @Test
  void soItIsWithFewPlacesSmallChunksAndBlocksThatRunOut() {
    try (var loop = loop(new LoopOptions(5, 688, 7))) {
      assertAsAlone(staggered(loop, eight()), eight());
      assertThat(loop.stats().preemptions()).isPositive();
      assertThat(loop.stats().usedBlocks()).isZero();
    }
  }

  @Test
  void severalAnswersToOnePromptShareItsBlocks() {
    int[] prompt = CausalModelTest.ids(170, 97, 5); // ends inside of a block
    GenerateOptions o = options(20).temperature(1.1).n(4).seed(30).logprobs(1).build();
    var most = new AtomicInteger();
    try (var loop = loop()) {
      TokenListener watching =
          id -> most.accumulateAndGet(loop.stats().usedBlocks(), Math::max) >= 0;
      List<Generation> answers = loop.submitAll(listening(prompt, o, watching));
      assertThat(answers).hasSize(4);
      for (int i = 0; i < 4; i++) {
        GenerateResult r = answers.get(i).result();
        assertThat(r.ids())
            .isEqualTo(alone(prompt, options(20).temperature(1.1).seed(30 + i).build()));
        assertThat(r.logprobs()).hasSize(20);
      }
      assertThat(answers.get(0).result().ids()).isNotEqualTo(answers.get(1).result().ids());
      assertThat(most.get()).isBetween(11, 10 + 4 * 2);
      assertThat(loop.stats().usedBlocks()).isZero();
      assertThatThrownBy(() -> loop.submit(Request.of(prompt, o)))
          .hasMessageContaining("submitAll");
      assertThatThrownBy(() -> loop.submitAll(Request.of(prompt, options(1).n(33).build())))
          .hasMessage("n = 33, expected at most 32 (max_sequences)");
    }
    assertThat(new Generator(model).generate(List.of(Request.of(prompt, o))))
        .hasSize(4)
        .extracting(GenerateResult::ids)
        .doesNotHaveDuplicates();
  }

  @Test
  void whenTheFirstOfSeveralAnswersIsCancelledTheOthersGoOn() {
    int[] prompt = CausalModelTest.ids(600, 97, 5);
    GenerateOptions o = options(6).temperature(1.1).n(3).seed(30).build();
    try (var loop = loop()) {
      var answers = new AtomicReference<List<Generation>>();
      // On the loop's thread, so that the answers are cancelled before it looks at them.
      loop.submit(
              listening(
                  new int[] {1},
                  options(1).build(),
                  id -> {
                    answers.set(loop.submitAll(Request.of(prompt, o)));
                    answers.get().get(0).cancel();
                    return true;
                  }))
          .result();
      List<GenerateResult> r = answers.get().stream().map(Generation::result).toList();
      assertThat(r.get(0).finishReason()).isEqualTo(FinishReason.CANCEL);
      assertThat(r.get(0).ids()).isEmpty();
      for (int i = 1; i < 3; i++) {
        assertThat(r.get(i).ids())
            .isEqualTo(alone(prompt, options(6).temperature(1.1).seed(30 + i).build()));
      }
    }
  }

  /**
   * Logits of each place where a token of the answer was drawn, by another way through the model.
   */
  private static List<float[]> logits(int[] prompt, List<Integer> answer) {
    int[] all = java.util.Arrays.copyOf(prompt, prompt.length + answer.size());
    for (int i = 0; i < answer.size(); i++) {
      all[prompt.length + i] = answer.get(i);
    }
    var rows = new ArrayList<float[]>();
    try (var scorer = new Scorer(model, model.engine().ops(), all.length)) {
      scorer.run(
          all,
          (first, some) -> {
            for (int r = 0; r < some.rows(); r++) {
              rows.add(some.rows(r, 1).toFloats());
            }
          });
    }
    return rows.subList(prompt.length - 1, all.length - 1);
  }

  @Test
  void biasAndPenaltiesAreThoseOfAPlainLoop() {
    int[] prompt = CausalModelTest.ids(9, 97, 1);
    float repeat = 1.3f;
    float presence = 0.4f;
    float frequency = 0.25f;
    Map<Integer, Float> bias = Map.of(11, 1.5f, 40, Float.NEGATIVE_INFINITY, 3, -1f);
    GenerateOptions o =
        options(60)
            .repeatPenalty(repeat)
            .presencePenalty(presence)
            .frequencyPenalty(frequency)
            .logitBias(bias)
            .build();
    List<Integer> ids = alone(prompt, o);
    List<float[]> logits = logits(prompt, ids);
    int free = 0; // places where penalties and bias change the choice
    for (int i = 0; i < ids.size(); i++) {
      float[] x = logits.get(i).clone();
      bias.forEach((id, b) -> x[id] += b);
      for (int v = 0; v < x.length; v++) {
        int times = Collections.frequency(ids.subList(0, i), v);
        int token = v;
        if (times > 0 || java.util.Arrays.stream(prompt).anyMatch(t -> t == token)) {
          x[v] = x[v] > 0 ? x[v] / repeat : x[v] * repeat;
        }
        x[v] = x[v] - times * frequency - (times > 0 ? presence : 0);
      }
      assertThat(ids.get(i)).as("token %d", i).isEqualTo(largest(x));
      free += largest(logits.get(i)) == ids.get(i) ? 0 : 1;
    }
    assertThat(free).isPositive();
    assertThat(ids).doesNotContain(40);
  }

  private static int largest(float[] x) {
    int best = 0;
    for (int v = 1; v < x.length; v++) {
      best = x[v] > x[best] ? v : best;
    }
    return best;
  }

  @Test
  void logprobsAreThoseOfASoftmaxInFloat64() {
    int[] prompt = CausalModelTest.ids(9, 97, 1);
    GenerateOptions o = options(30).temperature(1.4).repeatPenalty(1.5).logprobs(5).seed(8).build();
    GenerateResult r = new Generator(model).generate(prompt, o);
    assertThat(r.logprobs()).hasSize(30);
    List<float[]> logits = logits(prompt, r.ids());
    for (int i = 0; i < 30; i++) {
      float[] x = logits.get(i);
      double sum = 0;
      for (float v : x) {
        sum += Math.exp(v);
      }
      double total = Math.log(sum);
      var logprobs = r.logprobs().get(i);
      assertThat(logprobs.id()).isEqualTo(r.ids().get(i));
      assertThat(logprobs.logprob())
          .isCloseTo(x[logprobs.id()] - total, org.assertj.core.data.Offset.offset(1e-6));
      assertThat(logprobs.top()).hasSize(5);
      var sorted =
          IntStream.range(0, 97).boxed().sorted((a, b) -> Float.compare(x[b], x[a])).toList();
      for (int k = 0; k < 5; k++) {
        var top = logprobs.top().get(k);
        assertThat(top.id()).isEqualTo(sorted.get(k));
        assertThat(top.logprob())
            .isCloseTo(x[top.id()] - total, org.assertj.core.data.Offset.offset(1e-6));
      }
    }
    assertThat(new Generator(model).generate(prompt, options(3).logprobs(0).build()).logprobs())
        .hasSize(3)
        .allMatch(p -> p.top().isEmpty());
    assertThat(new Generator(model).generate(prompt, options(3).build()).logprobs()).isEmpty();
  }

  @Test
  void aCancelledAnswerTakesAtMostOneMoreTokenAndTheOthersGoOn() {
    GenerateOptions warm = options(40).temperature(1.0).seed(3).build();
    int[] prompt = {4, 5, 6};
    var reached = new CountDownLatch(1);
    var cancelled = new CountDownLatch(1);
    var tokens = new AtomicInteger();
    try (var loop = loop()) {
      Generation victim = loop.submit(Request.of(new int[] {9}, options(1000).build()));
      TokenListener listener =
          id -> {
            if (tokens.incrementAndGet() == 5) {
              reached.countDown();
              join(cancelled);
            }
            return true;
          };
      Generation other = loop.submit(listening(prompt, warm, listener));
      join(reached);
      int before = victim.completionTokens();
      victim.cancel();
      cancelled.countDown();
      GenerateResult r = victim.result();
      assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
      assertThat(r.completionTokens()).isBetween(before, before + 1).isLessThan(1000);
      assertThat(other.result().ids()).isEqualTo(alone(prompt, warm));
    }
  }

  @Test
  void aQueuedRequestCanBeCancelledToo() {
    try (var loop = loop(LoopOptions.defaults().withMaxSequences(1))) {
      Generation first = loop.submit(Request.of(new int[] {9}, options(1000).build()));
      Generation queued = loop.submit(Request.of(new int[] {9}, options(1000).build()));
      queued.cancel();
      GenerateResult r = queued.result();
      assertThat(first.isDone()).as("the first is under way").isFalse();
      assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
      assertThat(r.ids()).isEmpty();
      first.cancel();
      first.result();
    }
  }

  @Test
  void aListenerThatThrowsEndsItsOwnRequestOnly() {
    GenerateOptions warm = options(30).temperature(1.0).seed(3).build();
    int[] prompt = {4, 5, 6};
    try (var loop = loop()) {
      Generation good = loop.submit(Request.of(prompt, warm));
      Generation bad =
          loop.submit(
              listening(
                  new int[] {1},
                  options(30).build(),
                  id -> {
                    throw new ArithmeticException("of the listener");
                  }));
      assertThatThrownBy(bad::result)
          .isInstanceOf(ArithmeticException.class)
          .hasMessage("of the listener");
      assertThatThrownBy(() -> bad.pieces().forEachRemaining(p -> {}))
          .isInstanceOf(ArithmeticException.class);
      assertThat(good.result().ids()).isEqualTo(alone(prompt, warm));
      assertThat(loop.submit(Request.of(prompt, warm)).result().ids())
          .isEqualTo(good.result().ids());
      assertThat(loop.stats().usedBlocks()).isZero();
    }
  }

  @Test
  void blocksAndMemoryAreBackAfterTwoHundredRequestsWithRandomAborts() throws Exception {
    var random = new Random(4);
    try (var loop = loop(LoopOptions.defaults().withMaxSequences(8).withKvTokens(4096))) {
      long baseline = loop.stats().kvBytes();
      var handles = new ArrayList<Generation>();
      int completed = 0;
      for (int i = 0; i < 200; i++) {
        int[] prompt = CausalModelTest.ids(1 + random.nextInt(200), 97, i);
        int n = 1 + random.nextInt(3);
        GenerateOptions o = options(1 + random.nextInt(40)).temperature(1).n(n).seed(i).build();
        handles.addAll(loop.submitAll(Request.of(prompt, o)));
        if (random.nextBoolean()) {
          handles.get(handles.size() - 1 - random.nextInt(n)).cancel();
        }
        if (i % 10 == 0) {
          handles.getLast().result();
        }
      }
      for (Generation g : handles) {
        completed += g.result().finishReason() == FinishReason.LENGTH ? 1 : 0;
      }
      assertThat(completed).isBetween(100, handles.size() - 50);
      while (loop.stats().kvBytes() > baseline) {
        Thread.sleep(50); // until the loop was idle for a second
      }
      assertThat(loop.stats().usedBlocks()).isZero();
      assertThat(loop.stats().active()).isZero();
      assertThat(loop.stats().queued()).isZero();
    }
  }

  @Test
  void closingCancelsWhatIsUnderWay() {
    var loop = loop(LoopOptions.defaults().withMaxSequences(2));
    var handles = new ArrayList<Generation>();
    for (int i = 0; i < 4; i++) {
      handles.add(loop.submit(Request.of(new int[] {1 + i}, options(1000).build())));
    }
    handles.getFirst().pieces().next();
    loop.close();
    loop.close();
    for (Generation g : handles) {
      assertThat(g.isDone()).isTrue();
      assertThat(g.result().finishReason()).isEqualTo(FinishReason.CANCEL);
    }
    assertThatThrownBy(() -> loop.submit(Request.of(new int[] {1}, options(1).build())))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the generation loop is closed");
  }

  @Test
  @SuppressWarnings("try") // closing the loop early is what is tested
  void aListenerCanNeitherCloseItsLoopNorWaitForIt() {
    try (var loop = loop()) {
      Generation closing =
          loop.submit(
              listening(
                  new int[] {1},
                  options(5).build(),
                  id -> {
                    loop.close();
                    return true;
                  }));
      assertThatThrownBy(closing::result)
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("cannot be closed by a listener");
      Generation waiting =
          loop.submit(
              listening(
                  new int[] {1},
                  options(5).build(),
                  id -> {
                    loop.submit(Request.of(new int[] {2}, options(5).build())).result();
                    return true;
                  }));
      assertThatThrownBy(waiting::result)
          .isInstanceOf(IllegalStateException.class)
          .hasMessageContaining("a listener cannot wait");
    }
  }

  @Test
  void anInterruptedReaderCancels() {
    try (var loop = loop()) {
      Generation g = loop.submit(Request.of(new int[] {1}, options(1000).build()));
      Thread.currentThread().interrupt();
      GenerateResult r = g.result();
      assertThat(Thread.interrupted()).as("the flag is left for the caller").isTrue();
      assertThat(r.finishReason()).isEqualTo(FinishReason.CANCEL);
    }
  }

  @Test
  void aModelClosedUnderTheLoopIsAnErrorOfTheRequest() {
    var other = CausalModel.load(TestEngine.get(), CONFIG, MemoryWeights.random(CONFIG, 21));
    try (var loop = new GenerationLoop(other, Optional.empty())) {
      other.close();
      Generation g = loop.submit(Request.of(new int[] {1}, options(5).build()));
      assertThatThrownBy(g::result)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the model is closed");
    }
  }

  @Test
  void whatCannotBeAnsweredIsRefusedAtOnce() {
    try (var loop = loop(LoopOptions.defaults().withKvTokens(64))) {
      assertThat(loop.context()).isEqualTo(64);
      assertThatThrownBy(() -> loop.submit(Request.of(new int[64], options(1).build())))
          .hasMessage("the prompt has 64 tokens, expected less than the context of 64");
      assertThatThrownBy(() -> loop.submit(Request.of(new int[] {97}, options(1).build())))
          .hasMessage("the prompt has token id 97, expected 0 to 96");
      GenerateOptions bias = options(1).logitBias(Map.of(97, 1f)).build();
      assertThatThrownBy(() -> loop.submit(Request.of(new int[] {1}, bias)))
          .hasMessage("logit_bias names token 97, expected 0 to 96");
      GenerateOptions stop = options(1).stop(List.of("x")).build();
      assertThatThrownBy(() -> loop.submit(Request.of(new int[] {1}, stop)))
          .hasMessageContaining("stop texts need a tokenizer");
      GenerateResult r = loop.submit(Request.of(new int[60], options(100).build())).result();
      assertThat(r.completionTokens()).isEqualTo(4);
      assertThat(r.finishReason()).isEqualTo(FinishReason.LENGTH);
    }
    assertThatThrownBy(() -> options(1).n(0).build()).hasMessageContaining("n = 0");
    assertThatThrownBy(() -> options(1).n(129).build()).hasMessageContaining("n = 129");
    assertThatThrownBy(() -> options(1).logprobs(-2).build()).hasMessageContaining("logprobs = -2");
    assertThatThrownBy(() -> options(1).presencePenalty(Double.NaN).build())
        .hasMessageContaining("presence_penalty = NaN");
    assertThatThrownBy(() -> options(1).logitBias(Map.of(1, Float.NaN)).build())
        .hasMessageContaining("logit_bias 1: NaN");
    assertThatThrownBy(() -> new LoopOptions(0, 0, 1)).hasMessageContaining("max_sequences = 0");
  }

  @Test
  void aStepAllocatesAlmostNothing() {
    var threads =
        (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
    var tokens = new AtomicInteger();
    var bytes = new long[2];
    TokenListener measuring =
        id -> {
          int i = tokens.incrementAndGet();
          if (i == 500 || i == 1000) {
            bytes[i / 500 - 1] = threads.getCurrentThreadAllocatedBytes();
          }
          return true;
        };
    try (var loop = loop()) {
      GenerateOptions warm =
          options(1100).temperature(0.9).topK(40).repeatPenalty(1.1).seed(1).build();
      Generation beside = loop.submit(Request.of(new int[] {2}, warm));
      loop.submit(listening(new int[] {1}, warm, measuring)).result();
      beside.cancel();
    }
    long each = (bytes[1] - bytes[0]) / 500;
    assertThat(each).as("bytes a step of two answers").isLessThan(1024);
  }
}
