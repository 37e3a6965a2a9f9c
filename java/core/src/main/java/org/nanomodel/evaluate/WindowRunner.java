package org.nanomodel.evaluate;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.ListIterator;
import java.util.function.LongConsumer;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Runs windows through a model, or through several side by side, and shows the logits of the scored
 * positions. Every step is filled up with tokens of the next windows, and a window that does not
 * fit goes on in the next step. Logits are made of scored positions only.
 */
final class WindowRunner implements AutoCloseable {
  private static final long LOGITS_BYTES = 64L << 20;
  private static final int MAX_SEQUENCES = 32;

  /**
   * Rows of a step that belong to one window.
   *
   * @param window its index
   * @param first index of the first row among the window's scored positions
   */
  record Piece(int window, int first, int rows) {}

  /** Sees the logits of a step; they are valid during the call. */
  @FunctionalInterface
  interface Visitor {
    /**
     * @param pieces whose rows follow each other in the tensors
     * @param logits F32 [rows, V] of each model
     * @param targets I32 [rows], the tokens that came
     */
    void scored(List<Piece> pieces, List<Tensor> logits, Tensor targets);
  }

  /** A model with its own cache; all models see the same steps. */
  private record Lane(CausalModel model, Ops ops, KvCache cache, Batch batch) {}

  private final List<Lane> lanes = new ArrayList<>();
  private final boolean inOrder;
  private final int stepTokens;
  private final int sequences;
  private final Tensor targets;

  /** A window in work: the tokens before {@code done} are in the sequences. */
  private static final class Open {
    final int index;
    final ScoredWindow window;
    final List<Sequence> sequences; // one a lane
    int done;
    int step; // tokens of this step
    boolean scored; // are they scored?

    Open(int index, ScoredWindow window, List<Sequence> sequences) {
      this.index = index;
      this.window = window;
      this.sequences = sequences;
    }

    /** The last token needs no step: nothing after it is scored. */
    int left() {
      return window.to() - 1 - done;
    }

    void close() {
      sequences.forEach(Sequence::close);
    }
  }

  /**
   * @param models of one vocabulary
   * @param cancel may be null
   * @param longest the most tokens of a window
   * @param inOrder shows all rows of a window before those of the next
   */
  WindowRunner(List<CausalModel> models, Cancel cancel, int longest, boolean inOrder) {
    this.inOrder = inOrder;
    int vocab = models.getFirst().config().vocabSize();
    int most = models.stream().mapToInt(CausalModel::maxStepTokens).min().orElseThrow();
    stepTokens = Math.clamp(LOGITS_BYTES / (4L * vocab), 1, most);
    sequences = Math.clamp(stepTokens, 1, MAX_SEQUENCES);
    targets = Tensor.allocate(Arena.ofAuto(), DataType.I32, stepTokens);
    long rounded = (long) Math.ceilDiv(longest, KvCache.BLOCK) * KvCache.BLOCK;
    for (CausalModel model : models) {
      Ops ops = cancel == null ? model.engine().ops() : model.engine().ops(cancel);
      KvCache cache = model.newCache(sequences * rounded);
      lanes.add(new Lane(model, ops, cache, model.newBatch(sequences, longest)));
    }
  }

  /** The most rows that a step shows. */
  int maxRows() {
    return stepTokens;
  }

  /** The ops of the first model. */
  Ops ops() {
    return lanes.getFirst().ops();
  }

  /**
   * Runs all windows.
   *
   * @param progress gets the tokens run so far
   */
  void run(List<ScoredWindow> windows, Visitor visitor, LongConsumer progress) {
    ListIterator<ScoredWindow> next = windows.listIterator();
    List<Open> open = new ArrayList<>();
    List<CausalModel.Use> uses = new ArrayList<>();
    long tokens = 0;
    try {
      lanes.forEach(lane -> uses.add(lane.model().use()));
      while (next.hasNext() || !open.isEmpty()) {
        tokens += fill(open, next);
        step(open, visitor);
        progress.accept(tokens);
      }
    } finally {
      open.forEach(Open::close);
      uses.forEach(CausalModel.Use::close);
    }
  }

  private int fill(List<Open> open, ListIterator<ScoredWindow> next) {
    lanes.forEach(lane -> lane.batch().clear());
    int room = stepTokens;
    for (int i = 0; room > 0; i++) {
      if (i == open.size()) {
        if (!next.hasNext() || i == sequences) {
          break;
        }
        List<Sequence> own = lanes.stream().map(lane -> lane.cache().newSequence()).toList();
        open.add(new Open(next.nextIndex(), next.next(), own));
      }
      room -= add(open.get(i), room);
      if (inOrder && !open.get(i).scored) {
        break; // a later window would be scored before this one
      }
    }
    return stepTokens - room;
  }

  private int add(Open o, int room) {
    int context = o.window.from() - 1 - o.done; // tokens whose successors are not scored
    o.scored = context <= 0;
    o.step = Math.min(room, context > 0 ? context : o.left());
    Batch.Logits wanted = o.scored ? Batch.Logits.ALL : Batch.Logits.NONE;
    for (int l = 0; l < lanes.size(); l++) {
      lanes.get(l).batch().add(o.sequences.get(l), o.window.ids(), o.done, o.step, wanted);
    }
    return o.step;
  }

  private void step(List<Open> open, Visitor visitor) {
    int rows = 0;
    List<Piece> pieces = new ArrayList<>();
    for (Open o : open) {
      if (o.scored && o.step > 0) {
        pieces.add(new Piece(o.index, o.done + 1 - o.window.from(), o.step));
        for (int i = 0; i < o.step; i++) {
          int target = o.window.ids()[o.done + i + 1];
          targets.segment().setAtIndex(ValueLayout.JAVA_INT, rows++, target);
        }
      }
    }
    List<Tensor> logits = new ArrayList<>();
    for (Lane lane : lanes) {
      logits.add(lane.model().forward(lane.ops(), lane.batch()));
    }
    if (rows > 0) {
      visitor.scored(pieces, logits, targets.rows(0, rows));
    }
    for (Open o : open) {
      o.done += o.step;
      o.step = 0;
      if (o.left() == 0) {
        o.close();
      }
    }
    open.removeIf(o -> o.left() == 0);
  }

  @Override
  public void close() {
    lanes.forEach(lane -> lane.cache().close());
  }
}
