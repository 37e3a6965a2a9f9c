package org.nanomodel.model;

/**
 * Rotary position embedding: the angles of one position, and what cosine and sine are multiplied
 * by, as transformers' modeling_rope_utils computes them, in float32 where it does. Linear:
 * kaiokendev 2023; llama3: Llama 3.1; YaRN: Peng et al. 2023, sections 3.2 and 3.4.
 *
 * @param theta the base of the wavelengths
 * @param rotaryDim how many elements of a head are rotated
 * @param scaling how angles are changed for longer contexts
 */
public record RopeConfig(double theta, int rotaryDim, Scaling scaling) {

  /** A way to stretch the context. */
  public sealed interface Scaling permits Default, Linear, Llama3, Yarn {}

  /** As trained. */
  public record Default() implements Scaling {}

  /** All positions divided by {@code factor}. */
  public record Linear(double factor) implements Scaling {}

  /** Long wavelengths divided by {@code factor}, short ones kept, those between interpolated. */
  public record Llama3(
      double factor, double lowFreqFactor, double highFreqFactor, double originalContext)
      implements Scaling {}

  /**
   * A ramp between kept and divided angles over the dimensions, and a temperature on attention.
   *
   * @param attentionFactor what cosine and sine are multiplied by; NaN = from factor and the two
   *     mscales
   * @param mscale 0 = not given
   * @param mscaleAllDim 0 = not given
   * @param truncate whether the ends of the ramp are whole dimensions
   */
  public record Yarn(
      double factor,
      double originalContext,
      double betaFast,
      double betaSlow,
      double attentionFactor,
      double mscale,
      double mscaleAllDim,
      boolean truncate)
      implements Scaling {}

  /** The angle of one position for each pair: [rotaryDim / 2, rounded up]. */
  public float[] invFreq() {
    return switch (scaling) {
      case Default d -> base();
      case Linear l -> linear(l);
      case Llama3 l -> llama3(l);
      case Yarn y -> yarn(y);
    };
  }

  /** What cosine and sine are multiplied by. */
  public float attentionFactor() {
    if (!(scaling instanceof Yarn y)) {
      return 1f;
    }
    if (!Double.isNaN(y.attentionFactor())) {
      return (float) y.attentionFactor();
    }
    if (y.mscale() != 0 && y.mscaleAllDim() != 0) {
      return (float) (mscale(y.factor(), y.mscale()) / mscale(y.factor(), y.mscaleAllDim()));
    }
    return (float) mscale(y.factor(), 1);
  }

  private static double mscale(double factor, double mscale) {
    return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
  }

  private float[] wavelengths() {
    var pos = new float[(rotaryDim + 1) / 2];
    for (int i = 0; i < pos.length; i++) {
      float exponent = 2f * i / rotaryDim;
      pos[i] = (float) Math.pow((float) theta, exponent);
    }
    return pos;
  }

  private float[] base() {
    float[] f = wavelengths();
    for (int i = 0; i < f.length; i++) {
      f[i] = 1f / f[i];
    }
    return f;
  }

  private float[] linear(Linear l) {
    float[] f = base();
    for (int i = 0; i < f.length; i++) {
      f[i] /= (float) l.factor();
    }
    return f;
  }

  private float[] llama3(Llama3 l) {
    float longest = (float) (l.originalContext() / l.lowFreqFactor());
    float shortest = (float) (l.originalContext() / l.highFreqFactor());
    float factor = (float) l.factor();
    float low = (float) l.lowFreqFactor();
    float span = (float) (l.highFreqFactor() - l.lowFreqFactor());
    float[] f = base();
    for (int i = 0; i < f.length; i++) {
      float wavelength = (float) (2 * Math.PI) / f[i];
      if (wavelength > longest) {
        f[i] /= factor;
      } else if (!(wavelength < shortest)) {
        float smooth = ((float) l.originalContext() / wavelength - low) / span;
        f[i] = (1 - smooth) * f[i] / factor + smooth * f[i];
      }
    }
    return f;
  }

  private float[] yarn(Yarn y) {
    double low = correction(y.betaFast(), y.originalContext());
    double high = correction(y.betaSlow(), y.originalContext());
    if (y.truncate()) {
      low = Math.floor(low);
      high = Math.ceil(high);
    }
    low = Math.max(low, 0);
    high = Math.min(high, rotaryDim - 1);
    if (low == high) {
      high += 0.001; // as the reference does, against a division by zero
    }
    float[] f = wavelengths();
    for (int i = 0; i < f.length; i++) {
      float ramp = Math.clamp((i - (float) low) / (float) (high - low), 0f, 1f);
      float kept = 1f / f[i];
      float divided = 1f / ((float) y.factor() * f[i]);
      float keep = 1 - ramp;
      f[i] = divided * (1 - keep) + kept * keep;
    }
    return f;
  }

  /** The dimension that turns {@code rotations} times within the original context. */
  private double correction(double rotations, double context) {
    return rotaryDim * Math.log(context / (rotations * 2 * Math.PI)) / (2 * Math.log(theta));
  }
}
