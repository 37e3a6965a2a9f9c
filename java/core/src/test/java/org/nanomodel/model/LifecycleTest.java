package org.nanomodel.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import org.junit.jupiter.api.Test;
import org.nanomodel.generate.FinishReason;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.generate.GenerateResult;
import org.nanomodel.generate.Generator;
import org.nanomodel.generate.TokenListener;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Engine;

/** Closing: twice, too early, while others are at work. */
class LifecycleTest {
  private static final Config CONFIG = TestConfig.parse(TestConfig.llama());
  private static final MemoryWeights WEIGHTS = MemoryWeights.random(CONFIG, 1);
  private static final GenerateOptions LONG =
      GenerateOptions.builder().maxTokens(1000).ignoreEnd(true).build();

  @Test
  void everythingMayBeClosedTwiceAndNotUsedAfterwards() {
    Engine engine = Engine.open();
    CausalModel model = CausalModel.load(engine, CONFIG, WEIGHTS);
    KvCache cache = model.newCache(32);
    Sequence s = cache.newSequence();
    Batch batch = model.newBatch(1, 32).add(s, new int[] {1}, 0, 1, Batch.Logits.LAST);
    model.close();
    model.close();
    assertThatThrownBy(() -> model.forward(batch))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the model is closed");
    assertThatThrownBy(() -> new Generator(model).generate(new int[] {1}, LONG))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(model::use).isInstanceOf(IllegalStateException.class);
    cache.close();
    cache.close();
    assertThatThrownBy(cache::newSequence).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> cache.layer(0)).isInstanceOf(IllegalStateException.class);
    s.close();
    s.close();
    assertThatThrownBy(() -> s.truncate(0)).isInstanceOf(IllegalStateException.class);
    engine.close();
    engine.close();
    assertThat(engine.isClosed()).isTrue();
  }

  @Test
  void aModelOnAClosedEngineSaysSo() {
    Engine engine = Engine.open();
    try (var model = CausalModel.load(engine, CONFIG, WEIGHTS);
        var cache = model.newCache(32);
        var s = cache.newSequence()) {
      Batch batch = model.newBatch(1, 32).add(s, new int[] {1}, 0, 1, Batch.Logits.LAST);
      engine.close();
      assertThatThrownBy(() -> model.forward(batch))
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the engine is closed");
    }
  }

  @Test
  void closingWaitsForAGenerationThatIsUnderWay() throws Exception {
    CausalModel model = CausalModel.load(TestEngine.get(), CONFIG, WEIGHTS);
    var started = new CountDownLatch(1);
    var closed = new AtomicBoolean();
    var closedTooEarly = new AtomicBoolean();
    var generating =
        CompletableFuture.supplyAsync(() ->
            new Generator(model)
                .generate(
                    new int[] {1, 2},
                    LONG,
                    id -> {
                      started.countDown();
                      closedTooEarly.compareAndSet(false, closed.get());
                      return true;
                    },
                    new Cancel()));
    assertThat(started.await(30, TimeUnit.SECONDS)).isTrue();
    model.close();
    closed.set(true);
    assertThat(generating.get().ids()).hasSize(1000);
    assertThat(closedTooEarly).isFalse();
  }

  @Test
  void aListenerCannotCloseTheModelItListensTo() {
    CausalModel model = CausalModel.load(TestEngine.get(), CONFIG, WEIGHTS);
    var generator = new Generator(model);
    TokenListener closing =
        id -> {
          model.close();
          return true;
        };
    assertThatThrownBy(() -> generator.generate(new int[] {1}, LONG, closing, new Cancel()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("using it");
    assertThat(generator.generate(new int[] {1}, LONG).completionTokens()).isEqualTo(1000);
    model.close();
  }

  @Test
  void anEngineClosedInTheMiddleOfAGenerationEndsItWithAnError() throws Exception {
    Engine engine = Engine.open();
    try (var model = CausalModel.load(engine, CONFIG, WEIGHTS)) {
      var started = new CountDownLatch(1);
      CompletableFuture<GenerateResult> generating =
          CompletableFuture.supplyAsync(() ->
              new Generator(model)
                  .generate(
                      new int[] {1},
                      LONG,
                      id -> {
                        started.countDown();
                        return true;
                      },
                      new Cancel()));
      started.await();
      engine.close();
      // The generation may have been through already; then it is whole.
      Throwable failure = generating.handle((r, e) -> e == null ? null : e.getCause()).get();
      if (failure == null) {
        assertThat(generating.get().finishReason()).isEqualTo(FinishReason.LENGTH);
      } else {
        assertThat(failure)
            .isInstanceOf(IllegalStateException.class)
            .hasMessage("the engine is closed");
      }
    }
  }

  @Test
  void anEngineOpenedAndClosedAHundredTimesLeavesNoThreads() {
    Engine.open().close();
    int before = threadsOfProcess();
    for (int i = 0; i < 100; i++) {
      try (var engine = Engine.open();
          var model = CausalModel.load(engine, CONFIG, WEIGHTS)) {
        new Generator(model)
            .generate(new int[] {1}, GenerateOptions.builder().maxTokens(2).build());
      }
    }
    assertThat(threadsOfProcess()).isLessThan(before + 20);
  }

  @Test
  void theDecodeLoopAllocatesNextToNothing() {
    var threads =
        (com.sun.management.ThreadMXBean) java.lang.management.ManagementFactory.getThreadMXBean();
    try (var model = CausalModel.load(TestEngine.get(), CONFIG, WEIGHTS);
        var cache = model.newCache(1200);
        var s = cache.newSequence()) {
      Batch batch = model.newBatch(1, 1200);
      int[] ids = CausalModelTest.ids(1100, 97, 1);
      for (int i = 0; i < 600; i++) {
        model.forward(batch.clear().add(s, ids, i, 1, Batch.Logits.LAST));
      }
      s.truncate(80); // blocks and views are there by now
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int i = 80; i < 580; i++) {
        model.forward(batch.clear().add(s, ids, i, 1, Batch.Logits.LAST));
      }
      long perToken = (threads.getCurrentThreadAllocatedBytes() - before) / 500;
      // Nothing that grows with the model: about 50 native calls, two locks.
      assertThat(perToken).isLessThan(512);
    }
  }

  private static int threadsOfProcess() {
    String[] tasks = new java.io.File("/proc/self/task").list();
    org.junit.jupiter.api.Assumptions.assumeTrue(tasks != null, "skipped: no /proc here");
    return tasks.length;
  }
}
