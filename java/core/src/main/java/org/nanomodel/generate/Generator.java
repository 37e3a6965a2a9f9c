package org.nanomodel.generate;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.ops.Cancel;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * Continues texts on the calling thread, several in one batch. The model stays open until all are
 * done. For requests that come and go there is {@link GenerationLoop}.
 */
public final class Generator {
  private static final int MAX_SEQUENCES = 64;

  private final CausalModel model;
  private final Optional<Tokenizer> tokenizer;

  /** Without text: results have ids only, and stop texts are refused. */
  public Generator(CausalModel model) {
    this(model, Optional.empty());
  }

  public Generator(CausalModel model, Optional<Tokenizer> tokenizer) {
    this.model = model;
    this.tokenizer = tokenizer;
  }

  public GenerateResult generate(int[] prompt, GenerateOptions options) {
    return generate(Request.of(prompt, options));
  }

  public GenerateResult generate(
      int[] prompt, GenerateOptions options, TokenListener listener, Cancel cancel) {
    return generate(new Request(prompt, options, listener, cancel));
  }

  /** Continues one; of several answers the first is returned. */
  public GenerateResult generate(Request request) {
    return generate(List.of(request)).getFirst();
  }

  /**
   * Continues all of them. The results have the order of the requests; one of n answers has n
   * results. What a listener throws is thrown when all others are done.
   */
  public List<GenerateResult> generate(List<Request> requests) {
    if (requests.isEmpty()) {
      return List.of();
    }
    int limit = model.config().maxPositions();
    var runs = new ArrayList<Run>();
    long tokens = 0;
    int longest = 1;
    int answers = 1;
    for (Request r : requests) {
      int n = r.options().n();
      runs.addAll(Run.of(r, model, tokenizer, limit));
      tokens += n * Math.ceilDiv((long) Run.limit(r, limit), KvCache.BLOCK) * KvCache.BLOCK;
      longest = Math.max(longest, Run.limit(r, limit));
      answers = Math.max(answers, n);
    }
    int sequences = Math.min(runs.size(), Math.max(MAX_SEQUENCES, answers));
    long most = (long) KvCache.MAX_BLOCKS * KvCache.BLOCK;
    try (var _ = model.use();
        var scheduler =
            new Scheduler(
                model, Math.min(tokens, most), sequences, longest, model.maxStepTokens())) {
      run(runs, scheduler);
    }
    return runs.stream().map(r -> r.generation().result()).toList();
  }

  private static void run(List<Run> runs, Scheduler scheduler) {
    int next = 0;
    while (next < runs.size()) { // a lead stands for its followers, which come after it
      Run lead = runs.get(next);
      next += lead.answers();
      scheduler.add(lead);
    }
    scheduler.runAll();
  }
}
