package org.nanomodel.generate;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import org.nanomodel.CancelledException;
import org.nanomodel.NanoModelException;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Continuous batching (Yu et al. 2022, Orca): who is in the next step. Requests enter in the order
 * of their arrival while there are places and KV blocks; a step takes one token of each text being
 * written, and with what is left of its tokens the next piece of the prompts. When blocks run out,
 * the youngest leaves and is read again later; since a row is the same whatever runs beside it, so
 * is its text. Used by one thread.
 */
final class Scheduler implements AutoCloseable {
  private final CausalModel model;
  private final KvCache cache;
  private final Batch batch;
  private final DrawRoom room;
  private final int maxSequences;
  private final int prefillChunk;
  private final ArrayDeque<Run> queue = new ArrayDeque<>();
  private final List<Run> active = new ArrayList<>();
  private final List<Run> inStep = new ArrayList<>();
  private long steps;
  private long preemptions;

  /**
   * @param kvTokens the most tokens of all sequences together
   * @param context the most tokens of one
   * @param prefillChunk the most prompt tokens of a step in which texts are written
   */
  Scheduler(CausalModel model, long kvTokens, int maxSequences, int context, int prefillChunk) {
    this.model = model;
    this.maxSequences = Math.min(maxSequences, model.maxStepTokens());
    this.prefillChunk = prefillChunk;
    this.cache = model.newCache(kvTokens);
    this.batch = model.newBatch(this.maxSequences, context);
    this.room = new DrawRoom(model.config().vocabSize());
  }

  /** Puts an answer and its followers into the queue. */
  void add(Run lead) {
    queue.add(lead);
  }

  boolean isIdle() {
    return queue.isEmpty() && active.isEmpty();
  }

  /** The figures now; by another thread those of the KV cache are exact, the others may be late. */
  LoopStats stats(LoopStats last) {
    int used = cache.usedBlocks();
    int total = used + cache.freeBlocks();
    return new LoopStats(
        last.active(), last.queued(), used, total, cache.bytes(), last.steps(), last.preemptions());
  }

  LoopStats stats() {
    int answers = 0;
    for (int i = 0; i < active.size(); i++) {
      answers += active.get(i).answers();
    }
    return stats(new LoopStats(answers, queue.size(), 0, 0, 0, steps, preemptions));
  }

  /** Gives memory back that nobody uses. */
  void trim() {
    cache.trim();
  }

  /** Runs until all are done; an interrupt cancels them. */
  void runAll() {
    while (!isIdle()) {
      if (Thread.currentThread().isInterrupted()) {
        cancelAll();
      }
      step();
    }
  }

  /** Runs one step, if anybody has work. */
  void step() {
    dropCancelled();
    admit();
    fill();
    if (!inStep.isEmpty()) {
      steps++;
      forward();
    }
    for (int i = active.size() - 1; i >= 0; i--) {
      if (active.get(i).isDone()) {
        active.remove(i);
      }
    }
  }

  private void dropCancelled() {
    for (int i = active.size() - 1; i >= 0; i--) {
      Run next = active.get(i).remaining();
      if (next == null) {
        active.remove(i);
      } else {
        active.set(i, next);
      }
    }
    for (int n = queue.size(); n > 0; n--) {
      Run next = queue.poll().remaining();
      if (next != null) {
        queue.add(next);
      }
    }
  }

  private void admit() {
    int answers = 0;
    int promised = 0; // blocks that those in the batch will take for what they have to read
    for (int i = 0; i < active.size(); i++) {
      Run r = active.get(i);
      answers += r.answers();
      promised += r.sequence().blocksNeeded(r.pending());
    }
    while (!queue.isEmpty()) {
      Run r = queue.peek();
      int blocks = Math.ceilDiv(r.count() + 1, KvCache.BLOCK) + r.answers() - 1;
      boolean fits =
          answers + r.answers() <= maxSequences && promised + blocks <= cache.freeBlocks();
      if (!fits && !active.isEmpty()) {
        return; // the one who waits longest is next: no prompt is overtaken for ever
      }
      queue.poll().enter(cache);
      active.add(r);
      answers += r.answers();
      promised += blocks;
    }
  }

  private void fill() {
    batch.clear();
    inStep.clear();
    for (int i = 0; i < active.size(); i++) {
      Run r = active.get(i);
      if (!r.isDone() && r.pending() == 1 && makeRoom(i)) {
        join(r, 1);
      }
    }
    int left = batch.maxTokens() - batch.tokens();
    left = inStep.isEmpty() ? left : Math.min(left, prefillChunk);
    for (int i = 0; i < active.size() && left > 0; i++) {
      Run r = active.get(i);
      if (!r.isDone() && r.pending() > 1) {
        int n = fitting(r, Math.min(left, r.pending()));
        if (n > 0 && join(r, n)) {
          left -= n;
        }
      }
    }
    if (inStep.isEmpty() && active.size() > 1) {
      preemptYoungest(); // prompts that are half read have all blocks
      fill();
    }
  }

  /** Whether the block for one more token of active[i] is there, at the cost of younger ones. */
  private boolean makeRoom(int i) {
    Run r = active.get(i);
    while (r.sequence().blocksNeeded(1) > cache.freeBlocks()) {
      if (active.size() == 1) {
        r.fail(new NanoModelException("the KV cache is too small for one text"));
        return false;
      }
      boolean self = active.size() - 1 == i;
      preemptYoungest();
      if (self) {
        return false;
      }
    }
    return true;
  }

  private void preemptYoungest() {
    Run youngest = active.removeLast();
    if (!youngest.isDone()) {
      youngest.leave();
      queue.addFirst(youngest);
      preemptions++;
    }
  }

  private int fitting(Run r, int wanted) {
    int n = wanted;
    while (n > 0 && r.sequence().blocksNeeded(n) > cache.freeBlocks()) {
      n -= KvCache.BLOCK;
    }
    return Math.max(0, n);
  }

  private boolean join(Run r, int n) {
    int from = r.sequence().length();
    var logits = from + n == r.count() ? Batch.Logits.LAST : Batch.Logits.NONE;
    try {
      batch.add(r.sequence(), r.tokens(), from, n, logits);
      inStep.add(r);
      return true;
    } catch (RuntimeException | Error e) {
      r.fail(e); // no memory for its blocks, for instance
      return false;
    }
  }

  private void forward() {
    // A flag that kernels poll ends the whole step, so only who is alone hands over its own.
    boolean alone = inStep.size() == 1 && inStep.getFirst().answers() == 1;
    Ops ops = alone ? inStep.getFirst().ops(model) : model.engine().ops();
    Tensor logits;
    try {
      logits = model.forward(ops, batch);
    } catch (CancelledException e) {
      inStep.getFirst().end(FinishReason.CANCEL);
      return;
    } catch (RuntimeException | Error e) {
      inStep.forEach(r -> r.fail(e));
      return;
    }
    int row = 0;
    for (int i = 0; i < inStep.size(); i++) {
      Run r = inStep.get(i);
      if (r.pending() == 0) {
        draw(r, room.row(logits, row++));
      }
    }
  }

  private void draw(Run lead, Tensor logits) {
    List<Run> others = lead.release();
    for (int i = 0; i < others.size(); i++) {
      others.get(i).enter(lead.sequence().fork()); // before the lead may end and close it
      active.add(others.get(i));
    }
    Ops ops = model.engine().ops();
    lead.draw(ops, logits, room);
    for (int i = 0; i < others.size(); i++) {
      others.get(i).draw(ops, logits, room);
    }
  }

  /** Ends all with {@link FinishReason#CANCEL}. */
  void cancelAll() {
    active.forEach(r -> r.end(FinishReason.CANCEL));
    queue.forEach(r -> r.end(FinishReason.CANCEL));
    active.clear();
    queue.clear();
  }

  void failAll(Throwable e) {
    active.forEach(r -> r.fail(e));
    queue.forEach(r -> r.fail(e));
    active.clear();
    queue.clear();
  }

  @Override
  public void close() {
    cache.close();
  }
}
