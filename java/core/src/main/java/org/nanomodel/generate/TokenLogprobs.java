package org.nanomodel.generate;

import java.util.List;

/**
 * How likely a token of the answer was: log softmax of the model's own logits, before bias,
 * penalties, temperature and cuts.
 *
 * @param id the token
 * @param logprob its natural logarithm of probability
 * @param top the likeliest tokens in falling order (equal ones by id), as many as were asked for
 */
public record TokenLogprobs(int id, double logprob, List<Candidate> top) {
  /** A token that could have come. */
  public record Candidate(int id, double logprob) {}

  public TokenLogprobs {
    top = List.copyOf(top);
  }
}
