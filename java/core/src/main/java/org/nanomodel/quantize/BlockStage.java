package org.nanomodel.quantize;

import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.model.Block;
import org.nanomodel.model.BlockRunner;
import org.nanomodel.model.Config;
import org.nanomodel.model.TokenEmbedding;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.Ops;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * What runs blocks one at a time on calibration texts: the texts in chunks, work memory for one of
 * them, and a folder where larger things go if memory is to be spared. Used by one thread.
 */
final class BlockStage implements AutoCloseable {
  private static final int CHECK_TOKENS = 32;

  private final Ops ops;
  private final Config config;
  private final TextChunks chunks;
  private final Optional<Path> folder;
  private final BlockRunner runner;
  private final Arena arena = Arena.ofShared();
  private final Tensor work;
  private Boolean resumes;

  BlockStage(Ops ops, Config config, TextChunks chunks, Optional<Path> folder) {
    this.ops = ops;
    this.config = config;
    this.chunks = chunks;
    this.folder = folder;
    this.work = Tensor.allocate(arena, DataType.F32, chunks.maxTokens(), config.hiddenSize());
    this.runner =
        new BlockRunner(ops.engine(), config, chunks.maxTokens(), Math.max(2, chunks.maxTexts()));
  }

  List<TextChunks.Chunk> chunks() {
    return chunks.chunks();
  }

  /** Rows for all tokens; the caller closes them. */
  TokenRows allocate(long width) {
    return TokenRows.allocate(chunks.tokens(), width, folder);
  }

  /** The hidden states before the first block. */
  TokenRows embed(ModelDirectory source) {
    TokenRows states = allocate(config.hiddenSize());
    try (var embedding = TokenEmbedding.load(ops.engine(), config, source);
        var call = Arena.ofConfined()) {
      for (var chunk : chunks()) {
        Tensor ids = Tensor.ofInts(call, chunk.ids());
        runner.embed(ops, embedding, states.of(chunk), ids, chunk.lengths());
      }
      return states;
    } catch (RuntimeException | Error e) {
      states.close();
      throw e;
    }
  }

  WalkOps ops(Map<Linear, Linear> substitutes) {
    return new WalkOps(ops, substitutes);
  }

  void run(WalkOps with, Block block, Tensor x, int... lengths) {
    runner.run(with, block, x, lengths);
  }

  /** The same values in work memory, until the next call. */
  Tensor copy(Tensor x) {
    Tensor copy = work.rows(0, x.rows());
    Copies.rows(copy, x);
    return copy;
  }

  /**
   * Whether a pass of this architecture's blocks can go on at any of its linears with nothing but
   * the hidden states as they are there and that linear's input; so it is where nothing else that
   * was computed before is read after it. Tried out once, on a few tokens: stopped at each linear
   * and taken up again after other values went through, the block must give the same bits.
   */
  boolean resumes(Block block, TokenRows states) {
    if (resumes == null) {
      int tokens = Math.min(CHECK_TOKENS, chunks.chunks().getFirst().tokens());
      resumes = tokens > 1 && resumes(block, states.of(chunks.chunks().getFirst()).rows(0, tokens));
    }
    return resumes;
  }

  private boolean resumes(Block block, Tensor some) {
    int half = (int) some.rows() / 2;
    int[] lengths = {half, (int) some.rows() - half};
    try (var call = Arena.ofConfined()) {
      Tensor whole = copy(call, some);
      run(ops(Map.of()), block, whole, lengths);
      for (Linear linear : block.linears()) {
        Tensor x = copy(call, some);
        var first = ops(Map.of());
        Tensor input =
            first
                .runTo(Set.of(linear), () -> run(first, block, x, lengths))
                .map(in -> copy(call, in))
                .orElseThrow(() -> new IllegalStateException(linear.name() + " did not run"));
        run(ops(Map.of()), block, reversed(call, some), lengths);
        var second = ops(Map.of());
        if (linear != block.linears().getFirst()) {
          second.resumeAt(Set.of(linear), input);
        }
        run(second, block, x, lengths);
        if (x.segment().mismatch(whole.segment()) != -1) {
          return false;
        }
      }
    }
    return true;
  }

  private static Tensor copy(Arena arena, Tensor x) {
    Tensor copy = Tensor.allocate(arena, DataType.F32, x.rows(), x.cols());
    Copies.rows(copy, x);
    return copy;
  }

  private static Tensor reversed(Arena arena, Tensor x) {
    Tensor copy = Tensor.allocate(arena, DataType.F32, x.rows(), x.cols());
    for (long r = 0; r < x.rows(); r++) {
      Copies.rows(copy.rows(r, 1), x.rows(x.rows() - 1 - r, 1));
    }
    return copy;
  }

  @Override
  public void close() {
    runner.close();
    arena.close();
  }
}
