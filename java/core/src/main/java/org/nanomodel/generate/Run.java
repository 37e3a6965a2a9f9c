package org.nanomodel.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.nanomodel.events.PrefillEvent;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;
import org.nanomodel.tokenizer.StopScanner;
import org.nanomodel.tokenizer.TokenStream;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * An answer under way, on the generating thread. The first of several answers to one prompt reads
 * it for all: the others follow, and fork its sequence when the prompt is read.
 */
final class Run {
  private final Generation generation;
  private final TokenListener listener;
  private final int[] ends;
  private final Sampler sampler;
  private final PrefillEvent prefill = new PrefillEvent();
  private final int limit;
  private final TokenStream text; // null where no stop text is looked for
  private final StopScanner stops;
  private List<Run> followers = List.of();
  private Kept kept; // null = nothing is kept
  private Sequence sequence;
  private int[] tokens;
  private int count;
  private boolean done;
  private Ops ops;

  private Run(Request r, int sample, CausalModel model, Optional<Tokenizer> tokenizer, int limit) {
    this.generation = new Generation(r, sample, tokenizer);
    this.listener = r.listener();
    this.limit = limit;
    this.tokens = r.prompt().clone();
    this.count = tokens.length;
    GenerateOptions o = generation.options();
    this.sampler = new Sampler(o, tokens);
    prefill.begin();
    this.stops = new StopScanner(o.stop());
    this.text = o.stop().isEmpty() ? null : tokenizer.orElseThrow().stream(true, tokens);
    var own = o.ignoreEnd() ? List.<Integer>of() : model.config().eosIds();
    this.ends =
        Stream.concat(own.stream(), o.stopIds().stream()).mapToInt(Integer::intValue).toArray();
  }

  /**
   * The answers to a request; the first has the others as followers.
   *
   * @param context the most tokens of prompt and answer
   */
  static List<Run> of(Request r, CausalModel model, Optional<Tokenizer> tokenizer, int context) {
    check(r, model, tokenizer, context);
    int limit = limit(r, context);
    var runs = new ArrayList<Run>();
    for (int i = 0; i < r.options().n(); i++) {
      runs.add(new Run(r, i, model, tokenizer, limit));
    }
    runs.getFirst().lead(runs.subList(1, runs.size()));
    return runs;
  }

  static int limit(Request r, int context) {
    return (int) Math.min(context, (long) r.prompt().length + r.options().maxTokens());
  }

  static void check(Request r, CausalModel model, Optional<Tokenizer> tokenizer, int context) {
    if (r.prompt().length >= context) {
      throw new IllegalArgumentException(
          "the prompt has "
              + r.prompt().length
              + " tokens, expected less than the context of "
              + context);
    }
    int vocab = model.config().vocabSize();
    for (int id : r.prompt()) {
      requireId("the prompt has token id ", id, vocab);
    }
    r.options().logitBias().keySet().forEach(id -> requireId("logit_bias names token ", id, vocab));
    if (!r.options().stop().isEmpty() && tokenizer.isEmpty()) {
      throw new IllegalArgumentException("stop texts need a tokenizer, and the model has none");
    }
  }

  private static void requireId(String what, int id, int vocab) {
    if (id < 0 || id >= vocab) {
      throw new IllegalArgumentException(what + id + ", expected 0 to " + (vocab - 1));
    }
  }

  private void lead(List<Run> others) {
    followers = new ArrayList<>(others);
  }

  Generation generation() {
    return generation;
  }

  /** Answers that it stands for. */
  int answers() {
    return 1 + followers.size();
  }

  boolean isDone() {
    return done;
  }

  Sequence sequence() {
    return sequence;
  }

  int[] tokens() {
    return tokens;
  }

  /** Tokens of prompt and answer. */
  int count() {
    return count;
  }

  /** Tokens that the next step should take: one in decode, more in prefill. */
  int pending() {
    return count - sequence.length();
  }

  /** Its sequence begins with what {@code kept} has, and is kept there at the end. */
  void keepIn(Kept kept) {
    this.kept = kept;
  }

  /** Enters the batch with a sequence of the cache. */
  void enter(KvCache cache) {
    enter(kept == null ? cache.newSequence() : kept.take(cache, tokens, count));
  }

  /** Enters the batch. */
  void enter(Sequence with) {
    sequence = with;
    generation.begin();
  }

  /** Leaves the batch for lack of room; its tokens will be read again. */
  void leave() {
    sequence.close();
    sequence = null;
  }

  /** The prompt is read: the others continue it on their own. */
  List<Run> release() {
    List<Run> released = followers;
    followers = List.of();
    return released;
  }

  /** Who goes on with the prompt after those who were cancelled; null when all were. */
  Run remaining() {
    for (int i = followers.size() - 1; i >= 0; i--) {
      if (followers.get(i).generation.isCancelled()) {
        followers.remove(i).end(FinishReason.CANCEL);
      }
    }
    return generation.isCancelled() ? succeed(FinishReason.CANCEL, null) : this;
  }

  /**
   * Ends; the first follower takes over sequence and followers, and is returned if there is one.
   */
  private Run succeed(FinishReason reason, Throwable failure) {
    if (followers.isEmpty()) {
      finish(reason, failure);
      return null;
    }
    Run heir = followers.removeFirst();
    heir.followers = followers;
    followers = List.of();
    if (sequence != null) {
      heir.enter(sequence);
      sequence = null;
    }
    finish(reason, failure);
    return heir;
  }

  /** Ops that its cancel flag ends in the middle of a step. */
  Ops ops(CausalModel model) {
    if (ops == null) {
      ops = model.engine().ops(generation.ownCancel());
    }
    return ops;
  }

  /** Draws the next token from the logits [1, V]; what a listener throws ends this run only. */
  void draw(Ops with, Tensor logits, DrawRoom room) {
    try {
      int id = sampler.next(with, logits, room);
      int top = generation.options().logprobs();
      append(id, top < 0 ? null : room.logprobs(with, logits, id, top));
    } catch (RuntimeException | Error e) {
      fail(e);
    }
  }

  private void append(int id, TokenLogprobs logprobs) {
    if (count == generation.prompt().length) {
      prefill.promptTokens = count;
      prefill.commit();
    }
    if (count == tokens.length) {
      tokens = Arrays.copyOf(tokens, (int) Math.min(limit, 2L * count + 64));
    }
    tokens[count++] = id;
    generation.token(id, logprobs);
    boolean goOn = listener.onToken(id);
    if (!goOn || isEnd(id) || isStopText(id)) {
      end(FinishReason.STOP);
    } else if (count == limit) {
      end(FinishReason.LENGTH);
    }
  }

  private boolean isEnd(int id) {
    for (int end : ends) {
      if (id == end) {
        return true;
      }
    }
    return false;
  }

  private boolean isStopText(int id) {
    if (text == null) {
      return false;
    }
    stops.push(text.add(id));
    return stops.stopped();
  }

  /** Ends this one and its followers. */
  void end(FinishReason reason) {
    followers.forEach(f -> f.finish(reason, null));
    finish(reason, null);
  }

  /** The same, with an error. */
  void fail(Throwable e) {
    followers.forEach(f -> f.finish(null, e));
    finish(null, e);
  }

  private void finish(FinishReason reason, Throwable failure) {
    if (done) {
      return;
    }
    done = true;
    if (sequence != null && kept != null && failure == null) {
      kept.keep(sequence, tokens);
    } else if (sequence != null) {
      sequence.close();
    }
    if (failure != null) {
      generation.fail(failure);
    } else {
      generation.end(reason);
    }
  }
}
