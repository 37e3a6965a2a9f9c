package org.nanomodel.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Arrays;
import java.util.List;
import java.util.stream.DoubleStream;

/**
 * How far a model's predictions are from those of a reference, over the scored positions of a
 * protocol. Divergence is KL(reference || model) in nats.
 *
 * @param perplexity of the model
 * @param kldMean mean over the positions
 * @param kldMeanStderr its standard error by the spread of the positions
 * @param kldP99 99 of 100 positions are below, and so on
 * @param top1Agreement part of the positions where both find the same token likeliest, 0 to 1
 * @param deltaPMean mean change of the probability of the token that came
 * @param deltaPRms root of the mean square of that change
 * @param lnPplRatio ln of the perplexity by the reference's, which is the mean of paired
 *     differences; 0 = as good
 * @param lnPplRatioStderr its standard error, much smaller than that of either perplexity
 */
public record DivergenceResult(
    PerplexityResult perplexity,
    double kldMean,
    double kldMeanStderr,
    double kldMedian,
    double kldP99,
    double kldP999,
    double kldMax,
    double top1Agreement,
    double top1AgreementStderr,
    double deltaPMean,
    double deltaPRms,
    double pplReference,
    double lnPplRatio,
    double lnPplRatioStderr) {

  /** Of figures of each window's scored positions. */
  static DivergenceResult of(
      PerplexityResult perplexity,
      List<double[]> kl,
      List<double[]> nll,
      List<double[]> nllReference,
      long agreements) {
    double[] sorted = flat(kl).sorted().toArray();
    double[] model = flat(nll).toArray();
    double[] reference = flat(nllReference).toArray();
    int n = sorted.length;
    double[] ratio = new double[n];
    double[] delta = new double[n];
    for (int i = 0; i < n; i++) {
      ratio[i] = model[i] - reference[i];
      delta[i] = Math.exp(-model[i]) - Math.exp(-reference[i]);
    }
    double agreement = (double) agreements / n;
    return new DivergenceResult(
        perplexity,
        mean(sorted),
        standardError(sorted),
        percentile(sorted, 0.5),
        percentile(sorted, 0.99),
        percentile(sorted, 0.999),
        sorted[n - 1],
        agreement,
        n < 2 ? 0 : Math.sqrt(agreement * (1 - agreement) / (n - 1)),
        mean(delta),
        Math.sqrt(mean(Arrays.stream(delta).map(d -> d * d).toArray())),
        Math.exp(mean(reference)),
        mean(ratio),
        standardError(ratio));
  }

  private static DoubleStream flat(List<double[]> windows) {
    return windows.stream().flatMapToDouble(Arrays::stream);
  }

  private static double mean(double[] x) {
    double sum = 0;
    for (double v : x) {
      sum += v;
    }
    return sum / x.length;
  }

  private static double standardError(double[] x) {
    double mean = mean(x);
    double squares = 0;
    for (double v : x) {
      squares += (v - mean) * (v - mean);
    }
    return x.length < 2 ? 0 : Math.sqrt(squares / (x.length - 1) / x.length);
  }

  /** Between two positions in proportion, as numpy's default. */
  static double percentile(double[] sorted, double part) {
    double at = part * (sorted.length - 1);
    int below = (int) at;
    int above = Math.min(below + 1, sorted.length - 1);
    double low = sorted[below];
    return at == below ? low : low + (at - below) * (sorted[above] - low);
  }

  /** The keys of the command line's JSON. */
  public ObjectNode toJson() {
    ObjectNode json = perplexity.toJson();
    json.put("metric", "kl");
    json.put("kld_mean", kldMean);
    json.put("kld_median", kldMedian);
    json.put("kld_p99", kldP99);
    json.put("kld_max", kldMax);
    json.put("top1_agreement", top1Agreement);
    json.put("ppl_reference", pplReference);
    json.put("kld_mean_stderr", kldMeanStderr);
    json.put("kld_p999", kldP999);
    json.put("top1_agreement_stderr", top1AgreementStderr);
    json.put("delta_p_mean", deltaPMean);
    json.put("delta_p_rms", deltaPRms);
    json.put("ln_ppl_ratio", lnPplRatio);
    json.put("ln_ppl_ratio_stderr", lnPplRatioStderr);
    return json;
  }
}
