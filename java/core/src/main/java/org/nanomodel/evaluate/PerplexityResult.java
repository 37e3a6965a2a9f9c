package org.nanomodel.evaluate;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * A perplexity and how it came about.
 *
 * @param window tokens run together; with {@code rows} the most that a row may have
 * @param stride null where there is none
 * @param tokens scored
 * @param nllMean mean of -log p of the scored tokens, natural logarithm
 * @param ppl exp(nllMean)
 * @param pplStderr standard error of ppl, by the spread of the tokens' scores
 * @param bitsPerByte bits that the scored tokens cost, by the UTF-8 bytes of their text; null where
 *     that is not known
 * @param pplRunningMean mean over windows of the perplexity so far, which GPTQModel's tests quote;
 *     null elsewhere
 * @param seconds of running the model
 * @param tokensPerSecond run, context included
 */
public record PerplexityResult(
    Protocol protocol,
    int window,
    Integer stride,
    long tokens,
    double nllMean,
    double ppl,
    double pplStderr,
    Double bitsPerByte,
    Double pplRunningMean,
    double seconds,
    double tokensPerSecond) {

  /** The keys of the command line's JSON; those of other metrics are null. */
  public ObjectNode toJson() {
    ObjectNode json = new ObjectMapper().createObjectNode();
    json.put("metric", "ppl");
    json.put("protocol", protocol.value());
    json.put("window", window);
    json.put("stride", stride);
    json.put("tokens", tokens);
    json.put("nll_mean", nllMean);
    json.put("ppl", ppl);
    json.put("ppl_stderr", pplStderr);
    json.put("bits_per_byte", bitsPerByte);
    for (String key : new String[] {"kld_mean", "kld_median", "kld_p99", "kld_max"}) {
      json.putNull(key);
    }
    json.putNull("top1_agreement");
    json.putNull("ppl_reference");
    if (pplRunningMean != null) {
      json.put("ppl_running_mean", pplRunningMean);
    }
    json.put("seconds", seconds);
    json.put("tokens_per_second", tokensPerSecond);
    return json;
  }
}
