import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * The side of a peer: a process that Peers.java starts and asks, line by line, so that peers take
 * turns and none can disturb another. What is asked:
 *
 * <pre>
 * linear ID KIND SIZE M LAYERS THREADS   y[M,SIZE] = x[M,SIZE] W^T, through LAYERS weights one after another
 * sample ID                              seconds that one layer takes
 * model PATH THREADS                     loads; seconds up to the logits of a first token
 * prefill TOKENS, decode TOKENS          seconds, from an empty cache
 * </pre>
 *
 * The answer is a line "> ok NUMBER" or "> no WHY"; other lines are the peer's own talk.
 */
final class Driver {
  private static final double SAMPLED_SECONDS = 0.06;
  private static final double WARM_UP_SECONDS = 0.5;

  /** What a peer can do. Both throw {@link UnsupportedOperationException} for what it cannot. */
  interface Peer {
    /** A pass through the layers, prepared. */
    default Pass linear(String kind, int size, int m, int layers, int threads) throws Exception {
      throw new UnsupportedOperationException("no linear of its own");
    }

    default Model model(Path path, int threads) throws Exception {
      throw new UnsupportedOperationException("runs no whole model");
    }
  }

  interface Pass {
    void run() throws Exception;
  }

  /** A model and the cache of one sequence. */
  interface Model {
    /** Empties the cache. */
    void clear() throws Exception;

    /** Adds tokens to the sequence; the logits of the last one are there when it returns. */
    void add(int[] tokens) throws Exception;

    int vocabulary();
  }

  private record Linear(Pass pass, int layers) {}

  private final Peer peer;
  private final Map<String, Linear> linears = new HashMap<>();
  private Model model;

  private Driver(Peer peer) {
    this.peer = peer;
  }

  static void serve(Peer peer) throws IOException {
    var driver = new Driver(peer);
    var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      String answer;
      try {
        answer = "ok " + driver.answer(line.split(" "));
      } catch (Throwable e) { // a peer may lack anything: a class, a symbol, an instruction
        answer =
            "no "
                + String.valueOf(e.getMessage() == null ? e : e.getMessage())
                    .replaceAll("\\s+", " ");
      }
      System.out.println("> " + answer);
      System.out.flush();
    }
    System.exit(0); // pools of peers may hold threads that are no daemons
  }

  private double answer(String[] words) throws Exception {
    return switch (words[0]) {
      case "linear" -> {
        int layers = number(words[5]);
        var linear =
            new Linear(
                peer.linear(words[2], number(words[3]), number(words[4]), layers, number(words[6])),
                layers);
        for (long start = System.nanoTime(); since(start) < WARM_UP_SECONDS; ) {
          linear.pass.run();
        }
        linears.put(words[1], linear);
        yield 0;
      }
      case "sample" -> sample(linears.get(words[1]));
      case "model" -> {
        long start = System.nanoTime();
        model = peer.model(Path.of(words[1]), number(words[2]));
        model.add(new int[] {1});
        yield since(start);
      }
      case "prefill" -> {
        model.clear();
        int[] tokens = tokens(number(words[1]));
        long start = System.nanoTime();
        model.add(tokens);
        yield since(start);
      }
      case "decode" -> {
        model.clear();
        int[] tokens = tokens(number(words[1]));
        long start = System.nanoTime();
        for (int token : tokens) {
          model.add(new int[] {token});
        }
        yield since(start);
      }
      default -> throw new IllegalArgumentException("unknown word " + words[0]);
    };
  }

  /**
   * The median of the passes that fit into a moment; where more than one do, the first wakes
   * threads and is left out.
   */
  private static double sample(Linear linear) throws Exception {
    double[] seconds = new double[0];
    for (double all = 0; all < SAMPLED_SECONDS; ) {
      long start = System.nanoTime();
      linear.pass.run();
      seconds = Arrays.copyOf(seconds, seconds.length + 1);
      seconds[seconds.length - 1] = since(start);
      all += seconds[seconds.length - 1];
    }
    double[] sorted =
        seconds.length == 1 ? seconds : Arrays.copyOfRange(seconds, 1, seconds.length);
    Arrays.sort(sorted);
    return sorted[sorted.length / 2] / linear.layers;
  }

  private int[] tokens(int n) {
    int[] tokens = new int[n];
    for (int i = 0; i < n; i++) {
      tokens[i] = 3 + i * 37 % (model.vocabulary() - 3);
    }
    return tokens;
  }

  /** Normal weights, of a size that keeps the outputs of a long chain as large as its inputs. */
  static float[] weights(int size) {
    var random = new java.util.Random(1);
    float[] w = new float[size * size];
    float[] drawn = new float[1 << 16];
    for (int i = 0; i < drawn.length; i++) {
      drawn[i] = (float) (random.nextGaussian() / Math.sqrt(size));
    }
    for (int row = 0; row < size; row++) {
      int shift = random.nextInt(drawn.length - size);
      System.arraycopy(drawn, shift, w, row * size, size);
    }
    return w;
  }

  static float[] inputs(int count) {
    var random = new java.util.Random(7);
    float[] x = new float[count];
    for (int i = 0; i < count; i++) {
      x[i] = (float) random.nextGaussian();
    }
    return x;
  }

  private static double since(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  private static int number(String word) {
    return Integer.parseInt(word);
  }
}
