package org.nanomodel.generate;

import java.util.ArrayDeque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import org.nanomodel.model.CausalModel;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Answers many requests at once, in one batch on one thread of its own: a request enters while
 * others are under way, and leaves when it is done. What comes out does not depend on who else was
 * there. May be used by several threads. {@link #close} cancels what is under way.
 */
public final class GenerationLoop implements AutoCloseable {
  private static final long IDLE_NANOS = 1_000_000_000; // then memory of the KV cache is given back

  private final CausalModel model;
  private final Optional<Tokenizer> tokenizer;
  private final LoopOptions options;
  private final int context;
  private final ReentrantLock lock = new ReentrantLock();
  private final Condition changed = lock.newCondition();
  private final ArrayDeque<Run> arrivals = new ArrayDeque<>();
  private final Scheduler scheduler;
  private volatile LoopStats stats;
  private Thread thread;
  private boolean closed;

  /**
   * @param model stays the caller's, and must be closed after the loop
   * @param tokenizer as well; without one there are ids but no text
   */
  public GenerationLoop(CausalModel model, Optional<Tokenizer> tokenizer, LoopOptions options) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.options = options;
    long kvTokens = options.kvTokensOf(model);
    this.context = (int) Math.min(model.config().maxPositions(), kvTokens);
    this.scheduler =
        new Scheduler(model, kvTokens, options.maxSequences(), context, options.prefillChunk());
    this.stats = scheduler.stats();
  }

  public GenerationLoop(CausalModel model, Optional<Tokenizer> tokenizer) {
    this(model, tokenizer, LoopOptions.defaults());
  }

  /** Tokens of prompt and answer together: the model's context, or what the KV cache can hold. */
  public int context() {
    return context;
  }

  /** What it is doing: blocks and memory as they are now, the rest as the last step left it. */
  public LoopStats stats() {
    return scheduler.stats(stats);
  }

  /** Starts an answer and returns at once. */
  public Generation submit(Request request) {
    if (request.options().n() != 1) {
      throw new IllegalArgumentException(
          "n = " + request.options().n() + ": use submitAll, which gives that many answers");
    }
    return submitAll(request).getFirst();
  }

  /** Starts {@link GenerateOptions#n} answers, which read the prompt once, and returns at once. */
  public List<Generation> submitAll(Request request) {
    int most = Math.min(options.maxSequences(), model.maxStepTokens());
    if (request.options().n() > most) {
      throw new IllegalArgumentException(
          "n = " + request.options().n() + ", expected at most " + most + " (max_sequences)");
    }
    List<Run> runs = Run.of(request, model, tokenizer, context);
    lock.lock();
    try {
      if (closed) {
        throw new IllegalStateException("the generation loop is closed");
      }
      arrivals.add(runs.getFirst());
      if (thread == null) {
        thread = Thread.ofPlatform().daemon().name("nanomodel-generate").start(this::work);
      }
      runs.forEach(r -> r.generation().runsOn(thread));
      changed.signal();
    } finally {
      lock.unlock();
    }
    return runs.stream().map(Run::generation).toList();
  }

  private void work() {
    while (awaitWork()) {
      try (var _ = model.use()) {
        while (takeArrivals()) {
          scheduler.step();
          stats = scheduler.stats();
        }
      } catch (RuntimeException | Error e) {
        takeArrivals();
        scheduler.failAll(e);
      }
      stats = scheduler.stats();
    }
  }

  /** Waits for an arrival; false when the loop was closed. */
  private boolean awaitWork() {
    lock.lock();
    try {
      long idle = IDLE_NANOS;
      while (arrivals.isEmpty() && !closed) {
        if (idle > 0) {
          idle = awaitNanos(idle);
        } else {
          scheduler.trim();
          stats = scheduler.stats();
          changed.awaitUninterruptibly();
        }
      }
      return !closed;
    } finally {
      lock.unlock();
    }
  }

  private long awaitNanos(long nanos) {
    try {
      return changed.awaitNanos(nanos);
    } catch (InterruptedException e) {
      return nanos; // a listener's doing; the flag is cleared
    }
  }

  /** Whether there is work, newcomers included, and the loop is open. */
  private boolean takeArrivals() {
    lock.lock();
    try {
      while (!arrivals.isEmpty()) {
        scheduler.add(arrivals.poll());
      }
      return !closed && !scheduler.isIdle();
    } finally {
      lock.unlock();
    }
  }

  public boolean isClosed() {
    lock.lock();
    try {
      return closed;
    } finally {
      lock.unlock();
    }
  }

  /** Whether this is the thread on which listeners are called. */
  public boolean isOwnThread() {
    lock.lock();
    try {
      return Thread.currentThread() == thread;
    } finally {
      lock.unlock();
    }
  }

  /**
   * Cancels what is under way or waits, and returns when the step in progress is over. A listener
   * cannot close its own loop.
   */
  @Override
  public void close() {
    if (isOwnThread()) {
      throw new IllegalStateException("the loop cannot be closed by a listener that it calls");
    }
    Thread worker;
    lock.lock();
    try {
      closed = true;
      worker = thread;
      changed.signalAll();
    } finally {
      lock.unlock();
    }
    join(worker);
    synchronized (scheduler) {
      takeArrivals();
      scheduler.cancelAll();
      stats = scheduler.stats();
      scheduler.close();
    }
  }

  private static void join(Thread worker) {
    boolean interrupted = false;
    while (worker != null && worker.isAlive()) {
      try {
        worker.join();
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
