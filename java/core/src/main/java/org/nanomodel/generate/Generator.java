package org.nanomodel.generate;

import java.util.ArrayList;
import java.util.List;
import org.nanomodel.CancelledException;
import org.nanomodel.model.Batch;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.KvCache;
import org.nanomodel.ops.Cancel;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.Tensor;

/**
 * Continues texts, token by token. Several requests run in one ragged batch: each step takes the
 * next piece of the prompts that are not read yet and one token of each of the others. The model
 * stays open until all are done.
 */
public final class Generator {
  private final CausalModel model;

  public Generator(CausalModel model) {
    this.model = model;
  }

  public GenerateResult generate(int[] prompt, GenerateOptions options) {
    return generate(Request.of(prompt, options));
  }

  public GenerateResult generate(
      int[] prompt, GenerateOptions options, TokenListener listener, Cancel cancel) {
    return generate(new Request(prompt, options, listener, cancel));
  }

  public GenerateResult generate(Request request) {
    return generate(List.of(request)).getFirst();
  }

  /** Continues all of them; the results have the order of the requests. */
  public List<GenerateResult> generate(List<Request> requests) {
    int limit = model.config().maxPositions();
    long tokens = 0;
    int longest = 1;
    for (Request r : requests) {
      int context = context(r, limit);
      tokens += (long) Math.ceilDiv(context, KvCache.BLOCK) * KvCache.BLOCK;
      longest = Math.max(longest, context);
    }
    if (requests.isEmpty()) {
      return List.of();
    }
    try (var _ = model.use();
        KvCache cache = model.newCache(tokens)) {
      var runs = new ArrayList<Run>();
      for (Request r : requests) {
        runs.add(new Run(r, model.config(), cache.newSequence(), context(r, limit)));
      }
      run(runs, model.newBatch(Math.min(runs.size(), model.maxStepTokens()), longest));
      return runs.stream().map(Run::result).toList();
    }
  }

  private static int context(Request r, int limit) {
    if (r.prompt().length >= limit) {
      throw new IllegalArgumentException(
          "the prompt has "
              + r.prompt().length
              + " tokens, expected less than the context of "
              + limit);
    }
    return (int) Math.min(limit, (long) r.prompt().length + r.options().maxTokens());
  }

  private void run(List<Run> runs, Batch batch) {
    // A flag that kernels poll ends the whole step, so only a request that is alone hands over its
    // own.
    Ops ops =
        runs.size() == 1 ? model.engine().ops(runs.getFirst().cancel()) : model.engine().ops();
    var inStep = new ArrayList<Run>();
    while (true) {
      batch.clear();
      inStep.clear();
      join(
          runs, batch, inStep,
          false); // first the texts being written, so that no long prompt holds them up
      join(runs, batch, inStep, true);
      if (inStep.isEmpty()) {
        return;
      }
      step(ops, batch, inStep);
    }
  }

  private static void join(List<Run> runs, Batch batch, List<Run> inStep, boolean prefill) {
    for (int i = 0; i < runs.size(); i++) {
      Run run = runs.get(i);
      if (run.pending() > 1 == prefill && run.join(batch)) {
        inStep.add(run);
      }
    }
  }

  private void step(Ops ops, Batch batch, List<Run> inStep) {
    try {
      Tensor logits = model.forward(ops, batch);
      int row = 0;
      for (int i = 0; i < inStep.size(); i++) {
        if (inStep.get(i).wantsToken()) {
          inStep.get(i).draw(ops, logits.rows() == 1 ? logits : logits.rows(row, 1));
          row++;
        }
      }
    } catch (CancelledException e) {
      inStep.forEach(Run::cancelled);
    }
  }
}
