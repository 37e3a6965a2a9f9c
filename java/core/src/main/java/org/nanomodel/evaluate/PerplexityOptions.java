package org.nanomodel.evaluate;

/**
 * How perplexity is measured.
 *
 * @param window tokens run together; 0 = for {@code gptqmodel} and {@code llama.cpp} 512, else the
 *     model's context, at most 2048. With {@code rows}: documents of text are cut to it
 * @param stride of {@code sliding}; 0 = half the window
 */
public record PerplexityOptions(Protocol protocol, int window, int stride) {
  private static final int TOOLS_WINDOW = 512;
  private static final int LARGEST_DEFAULT = 2048;

  public PerplexityOptions {
    if (window < 0 || window == 1 || stride < 0) {
      throw new IllegalArgumentException(
          "window %d, stride %d: expected a window of 2 or more and a stride of 1 or more"
              .formatted(window, stride));
    }
    if (window > 0 && stride > window) {
      throw new IllegalArgumentException(
          "stride %d is larger than window %d: tokens between would be left out"
              .formatted(stride, window));
    }
  }

  /** Every row on its own. */
  public static PerplexityOptions rows() {
    return of(Protocol.ROWS);
  }

  /** A protocol with its usual window and stride. */
  public static PerplexityOptions of(Protocol protocol) {
    return new PerplexityOptions(protocol, 0, 0);
  }

  /** The same with numbers in place of zeros, for a model of this context. */
  PerplexityOptions filled(int context) {
    boolean tool = protocol == Protocol.GPTQMODEL || protocol == Protocol.LLAMA_CPP;
    int usual = Math.min(context, tool ? TOOLS_WINDOW : LARGEST_DEFAULT);
    int w = window > 0 ? window : protocol == Protocol.ROWS ? context : usual;
    return new PerplexityOptions(
        protocol, w, stride > 0 ? Math.min(stride, w) : Math.max(1, w / 2));
  }
}
