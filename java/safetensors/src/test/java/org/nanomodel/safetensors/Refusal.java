package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.time.Duration;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/**
 * What a bad input must get: the library's exception, soon, without much heap, on one line. Time is
 * the thread's own, so that a busy machine fails no test.
 */
final class Refusal {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private static final long MAX_HEAP = 64L << 20;

  private final ThrowingCallable call;
  private Duration limit = Duration.ofSeconds(1);
  private long maxHeap = MAX_HEAP;
  private Path file;

  private Refusal(ThrowingCallable call) {
    this.call = call;
  }

  static Refusal of(ThrowingCallable call) {
    return new Refusal(call);
  }

  Refusal within(int seconds) {
    limit = Duration.ofSeconds(seconds);
    return this;
  }

  Refusal anyMemory() {
    maxHeap = Long.MAX_VALUE;
    return this;
  }

  Refusal names(Path expected) {
    file = expected;
    return this;
  }

  /** Calls and checks. */
  void says(String fragment) {
    long heap = THREADS.getCurrentThreadAllocatedBytes();
    long start = THREADS.getCurrentThreadCpuTime();
    Throwable thrown = catchThrowable(call);
    Duration took = Duration.ofNanos(THREADS.getCurrentThreadCpuTime() - start);
    heap = THREADS.getCurrentThreadAllocatedBytes() - heap;

    assertThat(thrown).isInstanceOf(SafetensorsException.class).hasMessageContaining(fragment);
    assertThat(thrown.getMessage()).matches("[^\\p{Cntrl}\\u2028\\u2029]{10,1200}");
    assertThat(((SafetensorsException) thrown).file()).isEqualTo(file);
    assertThat(took).isLessThan(limit);
    assertThat(heap).as("heap bytes allocated").isLessThan(maxHeap);
  }
}
