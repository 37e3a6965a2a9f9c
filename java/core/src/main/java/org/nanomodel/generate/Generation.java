package org.nanomodel.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import org.nanomodel.ops.Cancel;
import org.nanomodel.tokenizer.StopScanner;
import org.nanomodel.tokenizer.TokenStream;
import org.nanomodel.tokenizer.Tokenizer;

/**
 * An answer that is being generated: its text as it comes ({@link #iterator}, {@link #pieces}), its
 * {@link #result}, and {@link #cancel}. May be used by any thread. Text is made from tokens by the
 * thread that asks for it, so a slow reader holds nobody up. Closing it cancels it.
 */
public final class Generation implements Iterable<String>, AutoCloseable {
  private final int[] prompt;
  private final GenerateOptions options;
  private final Cancel request; // of all answers to the prompt
  private final Cancel own;
  private final Optional<Tokenizer> tokenizer;
  private final List<TokenLogprobs> logprobs = new ArrayList<>();
  private final long submitted = System.nanoTime();
  private Thread worker;
  private int[] ids = new int[32];
  private int count;
  private long begun;
  private long first;
  private long last;
  private FinishReason reason;
  private String text;
  private Throwable failure;

  /** New text and the token that completed it. */
  public record Piece(String text, int id, TokenLogprobs logprobs) {
    /**
     * Text that was held back until the end, since it could have been a stop text, has no token.
     */
    public boolean hasToken() {
      return id >= 0;
    }
  }

  Generation(Request request, int sample, Optional<Tokenizer> tokenizer) {
    this.prompt = request.prompt();
    this.options = request.options().sample(sample);
    this.request = request.cancel();
    this.own = request.options().n() == 1 ? request.cancel() : new Cancel();
    this.tokenizer = tokenizer;
  }

  /** Tokens of the prompt. */
  public int promptTokens() {
    return prompt.length;
  }

  /** Ends it within a token, with {@link FinishReason#CANCEL}; others are not touched. */
  public void cancel() {
    own.raise();
  }

  /** The same as {@link #cancel}: for a reader that leaves early. */
  @Override
  public void close() {
    cancel();
  }

  boolean isCancelled() {
    return own.isRaised() || request.isRaised();
  }

  /** Ends kernels too, so it may be polled only where this runs alone. */
  Cancel ownCancel() {
    return own;
  }

  int[] prompt() {
    return prompt;
  }

  GenerateOptions options() {
    return options;
  }

  public synchronized boolean isDone() {
    return reason != null || failure != null;
  }

  /** New tokens so far. */
  public synchronized int completionTokens() {
    return count;
  }

  /**
   * Waits for the end. An interrupted thread cancels and waits for that.
   *
   * @throws RuntimeException what a listener, the model or the engine threw
   */
  public GenerateResult result() {
    boolean interrupted = false;
    synchronized (this) {
      while (!isDone()) {
        interrupted |= !await();
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      throwFailure();
      var list = new ArrayList<Integer>(count);
      for (int i = 0; i < count; i++) {
        list.add(ids[i]);
      }
      long end = begun == 0 ? System.nanoTime() : begun;
      double prefill = begun == 0 ? 0 : ((first == 0 ? System.nanoTime() : first) - begun) / 1e6;
      double decode = (last - first) / 1e6;
      double queue = (end - submitted) / 1e6;
      return new GenerateResult(
          text, list, reason, prompt.length, queue, prefill, decode, logprobs);
    }
  }

  /** False: this thread was interrupted, and the generation is cancelled. */
  private boolean await() {
    if (Thread.currentThread() == worker) {
      throw new IllegalStateException("a listener cannot wait for an answer of its own loop");
    }
    try {
      wait();
      return true;
    } catch (InterruptedException e) {
      cancel();
      return false;
    }
  }

  private void throwFailure() {
    switch (failure) {
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case null, default -> {}
    }
  }

  /**
   * The text in whole characters as it comes, without empty pieces; all of them joined are the
   * result's text. Needs a tokenizer.
   */
  @Override
  public Iterator<String> iterator() {
    Iterator<Piece> pieces = pieces();
    return new Lookahead<>() {
      @Override
      String advance() {
        while (pieces.hasNext()) {
          String piece = pieces.next().text();
          if (!piece.isEmpty()) {
            return piece;
          }
        }
        return null;
      }
    };
  }

  /**
   * Token by token as they come, with the text that each completes; the text is empty while a
   * character is unfinished, and null without a tokenizer.
   */
  public Iterator<Piece> pieces() {
    TokenStream stream = tokenizer.map(t -> t.stream(true, prompt)).orElse(null);
    StopScanner stops = new StopScanner(options.stop());
    return new Lookahead<>() {
      private int read;
      private boolean finished;

      @Override
      Piece advance() {
        if (waitFor(read)) {
          int i = read++;
          int id = id(i);
          String piece = stream == null ? null : stops.push(stream.add(id));
          return new Piece(piece, id, logprobs(i));
        }
        if (finished || stream == null) {
          return null;
        }
        finished = true;
        String rest = stops.push(stream.finish()) + stops.finish();
        return rest.isEmpty() ? null : new Piece(rest, -1, null);
      }
    };
  }

  /** Waits for token {@code i}; false when the answer ended before it. */
  private synchronized boolean waitFor(int i) {
    boolean interrupted = false;
    while (i >= count && !isDone()) {
      interrupted |= !await();
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    if (i >= count) {
      throwFailure();
    }
    return i < count;
  }

  private synchronized int id(int i) {
    return ids[i];
  }

  private synchronized TokenLogprobs logprobs(int i) {
    return i < logprobs.size() ? logprobs.get(i) : null;
  }

  // What the generating thread tells.

  /** On which thread its listener is called: it must not wait for itself. */
  synchronized void runsOn(Thread thread) {
    worker = thread;
  }

  synchronized void begin() {
    if (begun == 0) {
      begun = System.nanoTime();
    }
  }

  /**
   * @param of may be null
   */
  synchronized void token(int id, TokenLogprobs of) {
    if (count == ids.length) {
      ids = Arrays.copyOf(ids, 2 * count);
    }
    ids[count++] = id;
    if (of != null) {
      logprobs.add(of);
    }
    last = System.nanoTime();
    if (first == 0) {
      first = last;
    }
    notifyAll();
  }

  void end(FinishReason why) {
    String whole = null;
    Throwable thrown = null;
    try {
      whole = wholeText();
    } catch (RuntimeException e) {
      thrown = e;
    }
    synchronized (this) {
      text = whole;
      reason = why;
      failure = thrown;
      notifyAll();
    }
  }

  synchronized void fail(Throwable e) {
    failure = e;
    notifyAll();
  }

  private String wholeText() {
    if (tokenizer.isEmpty()) {
      return null;
    }
    TokenStream stream = tokenizer.get().stream(true, prompt);
    for (int i = 0; i < count; i++) {
      stream.hold(ids[i]);
    }
    StopScanner stops = new StopScanner(options.stop());
    return stops.push(stream.finish()) + stops.finish();
  }

  /** An iterator that must look for the next element to know whether there is one. */
  private abstract static class Lookahead<T> implements Iterator<T> {
    private T next;
    private boolean ended;

    /** The next element, or null at the end. */
    abstract T advance();

    @Override
    public boolean hasNext() {
      if (next == null && !ended) {
        next = advance();
        ended = next == null;
      }
      return next != null;
    }

    @Override
    public T next() {
      if (!hasNext()) {
        throw new java.util.NoSuchElementException();
      }
      T result = next;
      next = null;
      return result;
    }
  }
}
