package org.nanomodel.generate;

import java.util.Optional;
import org.nanomodel.model.CausalModel;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Prompts of which each begins as the last and its answer did, as those of a chat: what they share
 * is not read again. The answers are those of a {@link Generator}. For one thread; the KV cache is
 * held until {@link #close}.
 */
public final class Conversation implements AutoCloseable {
  private final CausalModel model;
  private final Optional<Tokenizer> tokenizer;
  private final int context;
  private final Scheduler scheduler;
  private final Kept kept = new Kept();

  public Conversation(CausalModel model, Optional<Tokenizer> tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.context = model.config().maxPositions();
    this.scheduler = new Scheduler(model, context, 1, context, model.maxStepTokens());
  }

  /** Continues one text; one answer only. */
  public GenerateResult generate(Request request) {
    if (request.options().n() != 1) {
      throw new IllegalArgumentException(
          "n = " + request.options().n() + ", expected 1 in a conversation");
    }
    Run run = Run.of(request, model, tokenizer, context).getFirst();
    run.keepIn(kept);
    try (var _ = model.use()) {
      scheduler.add(run);
      scheduler.runAll();
    }
    return run.generation().result();
  }

  @Override
  public void close() {
    kept.close();
    scheduler.close();
  }
}
