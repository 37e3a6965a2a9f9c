package org.nanomodel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;

/**
 * What a bad model must get: an exception of the library, soon, without much heap, on one line.
 * Time is the thread's own, so that a busy machine fails no test.
 */
public final class Refused {
  private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();
  private static final Duration LIMIT = Duration.ofSeconds(1);
  private static final long MAX_HEAP = 64L << 20;

  private Refused() {}

  /** Calls, and checks that the refusal says all these. */
  public static void saying(ThrowingCallable call, String... fragments) {
    long heap = THREADS.getCurrentThreadAllocatedBytes();
    long start = THREADS.getCurrentThreadCpuTime();
    Throwable thrown = catchThrowable(call);
    Duration took = Duration.ofNanos(THREADS.getCurrentThreadCpuTime() - start);
    heap = THREADS.getCurrentThreadAllocatedBytes() - heap;

    assertThat(thrown).isInstanceOfAny(BadModelException.class, UnsupportedModelException.class);
    assertThat(thrown).hasMessageContainingAll(fragments);
    assertThat(thrown.getMessage()).matches("[^\\p{Cntrl}\\u2028\\u2029]{10,1500}");
    assertThat(took).isLessThan(LIMIT);
    assertThat(heap).as("heap bytes allocated").isLessThan(MAX_HEAP);
  }
}
