package org.nanomodel.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.nanomodel.Backend;
import org.nanomodel.BestDevice;
import org.nanomodel.CancelledException;
import org.nanomodel.Device;
import org.nanomodel.NativeException;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

class EngineTest {
  @Test
  void everyTierOfThisMachineOpensAndSaysItsName() {
    Engine.CpuInfo cpu = Engine.cpu();
    assertThat(cpu.tiers()).startsWith("reference").contains(cpu.bestTier());
    assertThat(cpu.logicalCores()).isPositive();
    for (String tier : cpu.tiers()) {
      try (var engine = Engine.open(EngineOptions.defaults().withTier(tier).withThreads(2))) {
        assertThat(engine.tier()).isEqualTo(tier);
        assertThat(engine.threads()).isEqualTo(2);
        assertThat(engine.device()).isEqualTo(Device.CPU);
      }
      assertThat(Engine.whyNoTier(tier)).isEmpty();
    }
    try (var engine = Engine.open(EngineOptions.defaults().withBackend(Backend.REFERENCE))) {
      assertThat(engine.tier()).isEqualTo("reference");
    }
  }

  @Test
  void propertiesSetWhatIsNotSaid() {
    System.setProperty("nanomodel.threads", "3");
    System.setProperty("nanomodel.tier", "reference");
    try (var engine = Engine.open()) {
      assertThat(engine.threads()).isEqualTo(3);
      assertThat(engine.tier()).isEqualTo("reference");
      System.setProperty("nanomodel.threads", "many");
      assertThatThrownBy(EngineOptions::defaults)
          .hasMessage("nanomodel.threads = 'many', expected a whole number");
    } finally {
      System.clearProperty("nanomodel.threads");
      System.clearProperty("nanomodel.tier");
    }
  }

  @Test
  void whatThisMachineLacksIsRefused() {
    EngineOptions o = EngineOptions.defaults();
    assertThatThrownBy(() -> Engine.open(o.withTier("sse9")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("unknown tier 'sse9'")
        .hasMessageContaining("avx2");
    String foreign = Engine.cpu().tiers().contains("neon") ? "avx2" : "neon";
    assertThatThrownBy(() -> Engine.open(o.withTier(foreign)))
        .hasMessageContaining(foreign + ": " + Engine.whyNoTier(foreign));
    assertThatThrownBy(() -> o.withThreads(-1)).hasMessageContaining("threads = -1");
    assertThatThrownBy(() -> o.withThreads(1 << 20)).hasMessageContaining("threads = 1048576");
    assertThatThrownBy(() -> Engine.open(o.withDevice(Device.cuda(99))))
        .isInstanceOf(NativeException.class)
        .hasMessageMatching("(?i).*(cuda|device).*");
  }

  @Test
  void devicesHaveNames() {
    assertThat(Device.parse("cpu")).isEqualTo(Device.CPU);
    assertThat(Device.parse("cuda")).isEqualTo(Device.cuda(0));
    assertThat(Device.parse("cuda:3")).hasToString("cuda:3");
    assertThat(Device.parse("auto")).isEqualTo(BestDevice.get());
    assertThatThrownBy(() -> Device.parse("tpu"))
        .hasMessageContaining("expected auto, cpu, cuda or cuda:INDEX");
    assertThat(Backend.parse("Auto")).isEqualTo(Backend.AUTO);
    assertThatThrownBy(() -> Backend.parse("triton"))
        .hasMessageContaining("expected auto, cpu, reference or cuda");
  }

  @Test
  void aClosedEngineIsNotUsed() {
    Engine engine = Engine.open();
    Tensor x = Tensor.allocate(Arena.ofAuto(), DataType.F32, 1, 8);
    Linear linear = Linear.pack(engine, "w", weight(8, 8), null);
    engine.sync();
    engine.close();
    engine.close();
    assertThatThrownBy(engine::sync).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> engine.ops().softmax(x, x, 1))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the engine is closed");
    assertThatThrownBy(() -> engine.ops().linear(x, x, linear))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> Linear.pack(engine, "w", weight(8, 8), null))
        .isInstanceOf(IllegalStateException.class);
    linear.close();
  }

  private static FloatWeight weight(long n, long k) {
    return new FloatWeight(
        DataType.F32, n, k, Tensor.allocate(Arena.ofAuto(), DataType.F32, n, k).segment());
  }

  @Test
  void closingWaitsForTheCallsOfOtherThreads() throws Exception {
    for (int round = 0; round < 20; round++) {
      Engine engine = Engine.open();
      Linear linear = Linear.pack(engine, "w", weight(512, 512), null);
      var running = new CountDownLatch(3);
      var callers =
          java.util.stream.IntStream.range(0, 3)
              .mapToObj(i ->
                  CompletableFuture.supplyAsync(() -> callUntilClosed(engine, linear, running)))
              .toList();
      running.await();
      if (round % 2 == 0) {
        linear.close();
      }
      engine.close();
      linear.close();
      for (var caller : callers) {
        assertThat(caller.get()).matches("the engine is closed|linear w is closed");
      }
    }
  }

  private static String callUntilClosed(Engine engine, Linear linear, CountDownLatch running) {
    Tensor x = Tensor.allocate(Arena.ofAuto(), DataType.F32, 16, 512);
    Tensor y = Tensor.allocate(Arena.ofAuto(), DataType.F32, 16, 512);
    Ops ops = engine.ops(new Cancel());
    try {
      while (true) {
        ops.linear(y, x, linear);
        running.countDown();
      }
    } catch (IllegalStateException e) {
      return e.getMessage();
    }
  }

  @Test
  void aRaisedFlagEndsTheCallAndOnlyItsOwn() {
    try (var engine = Engine.open();
        Linear linear = Linear.pack(engine, "w", weight(2048, 2048), null)) {
      Tensor x = Tensor.allocate(Arena.ofAuto(), DataType.F32, 64, 2048);
      Tensor y = Tensor.allocate(Arena.ofAuto(), DataType.F32, 64, 2048);
      var cancel = new Cancel();
      Ops ops = engine.ops(cancel);
      ops.linear(y, x, linear);
      cancel.raise();
      assertThat(cancel.isRaised()).isTrue();
      assertThatThrownBy(() -> ops.linear(y, x, linear)).isInstanceOf(CancelledException.class);
      engine.ops().linear(y, x, linear);
    }
  }
}
