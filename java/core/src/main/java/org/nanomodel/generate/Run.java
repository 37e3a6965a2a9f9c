package org.nanomodel.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.nanomodel.events.PrefillEvent;
import org.nanomodel.model.Batch;
import org.nanomodel.model.Config;
import org.nanomodel.model.Sequence;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/** A request under way. */
final class Run {
  private final Request request;
  private final int[] ends;
  private final Sequence sequence;
  private final Sampler sampler;
  private final int context;
  private final long start = System.nanoTime();
  private final PrefillEvent prefill = new PrefillEvent();
  private int[] tokens;
  private int count;
  private int inStep;
  private long first;
  private long last;
  private FinishReason finish;

  /**
   * @param context the most tokens of prompt and answer
   */
  Run(Request request, Config config, Sequence sequence, int context) {
    this.request = request;
    this.ends = ends(request.options(), config);
    this.sequence = sequence;
    this.context = context;
    this.tokens = request.prompt().clone();
    this.count = request.prompt().length;
    this.sampler = new Sampler(request.options(), request.prompt());
    prefill.begin();
  }

  Cancel cancel() {
    return request.cancel();
  }

  private static int[] ends(GenerateOptions options, Config config) {
    var own = options.ignoreEnd() ? List.<Integer>of() : config.eosIds();
    return Stream.concat(own.stream(), options.stopIds().stream())
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /** Tokens that the next step should take: one in decode, more in prefill. */
  int pending() {
    return finish != null ? 0 : count - sequence.length();
  }

  /** Adds the next tokens to the step, as many as fit; false when there is nothing to do. */
  boolean join(Batch batch) {
    if (finish == null && (cancel().isRaised() || Thread.currentThread().isInterrupted())) {
      cancelled();
    }
    int room = batch.maxTokens() - batch.tokens();
    if (finish != null || room == 0) {
      return false;
    }
    int from = sequence.length();
    inStep = Math.min(room, count - from);
    batch.add(
        sequence,
        tokens,
        from,
        inStep,
        from + inStep == count ? Batch.Logits.LAST : Batch.Logits.NONE);
    return true;
  }

  /** After the step: whether all tokens are read, so that the next one can be drawn. */
  boolean wantsToken() {
    return sequence.length() == count;
  }

  void draw(Ops ops, Tensor logits) {
    int id = sampler.next(ops, logits);
    last = System.nanoTime();
    if (first == 0) {
      first = last;
      prefill.promptTokens = request.prompt().length;
      prefill.commit();
    }
    if (count == tokens.length) {
      tokens = Arrays.copyOf(tokens, (int) Math.min(context, 2L * count + 64));
    }
    tokens[count++] = id;
    boolean goOn = request.listener().onToken(id);
    if (!goOn || isEnd(id)) {
      finish(FinishReason.STOP);
    } else if (count == context) {
      finish(FinishReason.LENGTH);
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

  void cancelled() {
    finish(FinishReason.CANCEL);
  }

  private void finish(FinishReason reason) {
    finish = reason;
    sequence.close();
  }

  GenerateResult result() {
    int prompt = request.prompt().length;
    List<Integer> ids = new ArrayList<>();
    for (int i = prompt; i < count; i++) {
      ids.add(tokens[i]);
    }
    long firstToken = first == 0 ? System.nanoTime() : first;
    double decode = first == 0 ? 0 : (last - first) / 1e6;
    return new GenerateResult(List.copyOf(ids), finish, prompt, (firstToken - start) / 1e6, decode);
  }
}
