package org.nanomodel.quantize;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.model.Batch;
import org.nanomodel.model.Block;
import org.nanomodel.model.CausalModel;
import org.nanomodel.model.Config;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.FloatWeight;
import org.nanomodel.ops.Linear;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** What calibration sees of a block. */
class BlockWalkTest {
  private static final int[] LENGTHS = {40, 7, 23, 1, 30};

  @TempDir static Path temp;
  private Engine engine;
  private ModelDirectory source;
  private Config config;
  private TextChunks chunks;

  @BeforeEach
  void open() throws IOException {
    engine = Engine.open();
    source =
        ModelDirectory.open(new TinyModel(64, 96, 2, false).write(temp.resolve("model")), engine);
    config = source.config();
    var random = new Random(5);
    var rows = new ArrayList<int[]>();
    for (int length : LENGTHS) {
      rows.add(random.ints(length, 0, TinyModel.VOCAB).toArray());
    }
    chunks = TextChunks.of(rows, 50, Integer.MAX_VALUE);
  }

  @Test
  void aPassThatStopsInTheMiddleLeavesNothingBehind() {
    var random = new Random(6);
    var rows = new ArrayList<int[]>();
    for (int i = 0; i < 40; i++) { // chunks of one long row, and of many short ones
      rows.add(random.ints(i % 8 == 0 ? 60 : 5, 0, TinyModel.VOCAB).toArray());
    }
    chunks = TextChunks.of(rows, 60, Integer.MAX_VALUE);
    assertThat(chunks.maxTexts()).isGreaterThan(5);
    assertThat(sequential(true, Optional.empty()).outputs()).hasSameSizeAs(chunks.chunks());
  }

  @AfterEach
  void close() {
    source.close();
    engine.close();
  }

  private Block block(int layer) {
    return config.family().blocks().load(engine, config, source, layer);
  }

  private BlockStage stage(Optional<Path> folder) {
    return new BlockStage(engine.ops(), config, chunks, folder);
  }

  private TokenRows embedded(BlockStage stage) {
    return stage.embed(source);
  }

  private List<List<Linear>> groups(BlockWalk walk, int layer) {
    return config.tree().groups().stream()
        .map(group -> walk.linears(config.tree().modules(layer, group)))
        .toList();
  }

  /** Another weight, so that a replacement shows. */
  private Linear other(Arena arena, Linear linear) {
    var random = new Random(linear.k());
    Tensor w = Tensor.allocate(arena, DataType.F32, linear.n(), linear.k());
    for (long n = 0; n < w.rows(); n++) {
      for (long k = 0; k < w.cols(); k++) {
        w.setFloat(n, k, (float) random.nextGaussian() * 0.1f);
      }
    }
    return linear.withWeight(new FloatWeight(DataType.F32, w.rows(), w.cols(), w.segment()));
  }

  private record Seen(List<List<float[]>> inputs, List<float[]> outputs) {}

  /** Group by group, each replaced once its inputs were seen. */
  private Seen sequential(boolean resumes, Optional<Path> folder) {
    var seen = new Seen(new ArrayList<>(), new ArrayList<>());
    try (var stage = stage(folder);
        var states = embedded(stage);
        var block = block(0);
        var arena = Arena.ofConfined();
        var walk = new BlockWalk(stage, block, states, resumes)) {
      for (var group : groups(walk, 0)) {
        var inputs = new ArrayList<float[]>();
        walk.inputs(group, (chunk, x) -> inputs.add(x.toFloats()));
        seen.inputs().add(inputs);
        group.forEach(linear -> walk.replace(linear, other(arena, linear)));
      }
      walk.finish();
      chunks.chunks().forEach(chunk -> seen.outputs().add(states.of(chunk).toFloats()));
    }
    return seen;
  }

  private static void assertEqual(List<float[]> got, List<float[]> expected) {
    assertThat(got).hasSameSizeAs(expected);
    for (int i = 0; i < got.size(); i++) {
      assertThat(got.get(i)).isEqualTo(expected.get(i));
    }
  }

  @Test
  void rowsRunInChunksOfWholeRows() {
    assertThat(chunks.chunks()).hasSize(3);
    assertThat(chunks.chunks().get(0).lengths()).containsExactly(40, 7);
    assertThat(chunks.chunks().get(1).lengths()).containsExactly(23, 1);
    assertThat(chunks.chunks().get(2).first()).isEqualTo(71);
    assertThat(chunks.maxTokens()).isEqualTo(47);
    assertThat(TextChunks.of(List.of(new int[90], new int[2]), 50, 9).chunks()).hasSize(2);
    assertThat(TextChunks.of(List.of(new int[2], new int[2], new int[2]), 50, 2).chunks())
        .hasSize(2);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void goingOnAtALinearGivesTheBitsOfAPassFromTheStart(boolean onDisk) throws IOException {
    Seen whole = sequential(false, Optional.empty());
    Seen resumed = sequential(true, onDisk ? Optional.of(temp.resolve("spill")) : Optional.empty());
    for (int g = 0; g < 4; g++) {
      assertEqual(resumed.inputs().get(g), whole.inputs().get(g));
    }
    assertEqual(resumed.outputs(), whole.outputs());
    if (onDisk) {
      try (var left = Files.list(temp.resolve("spill"))) {
        assertThat(left).isEmpty();
      }
    }
  }

  @Test
  void replacedLinearsAreWhatLaterInputsComeFrom() {
    Seen replaced = sequential(true, Optional.empty());
    List<List<float[]>> plain = new ArrayList<>();
    try (var stage = stage(Optional.empty());
        var states = embedded(stage);
        var block = block(0);
        var walk = new BlockWalk(stage, block, states)) {
      var groups = groups(walk, 0);
      groups.forEach(g -> plain.add(new ArrayList<>()));
      var inputs = new ArrayList<BlockWalk.Inputs>();
      for (var list : plain) {
        inputs.add((chunk, x) -> list.add(x.toFloats()));
      }
      walk.inputs(groups, inputs);
    }
    assertEqual(plain.get(0), replaced.inputs().get(0));
    for (int g = 1; g < 4; g++) {
      assertThat(plain.get(g)).hasSize(3);
      assertThat(plain.get(g).getFirst()).isNotEqualTo(replaced.inputs().get(g).getFirst());
    }
  }

  @Test
  void theStatesAfterABlockAreThoseOfTheModel() {
    try (var model = CausalModel.load(engine, config, source);
        var cache = model.newCache(64);
        var stage = stage(Optional.empty());
        var states = embedded(stage)) {
      for (int layer = 0; layer < 2; layer++) {
        try (var block = block(layer);
            var walk = new BlockWalk(stage, block, states)) {
          assertThat(stage.resumes(block, states)).isTrue();
          walk.inputs(groups(walk, layer).get(2), (chunk, x) -> {});
          walk.finish();
        }
      }
      var expected = new ArrayList<float[]>();
      try (var s = cache.newSequence()) {
        int[] ids = Arrays.copyOf(chunks.chunks().getFirst().ids(), LENGTHS[0]);
        var batch = model.newBatch(1, 64).add(s, ids, 0, ids.length, Batch.Logits.NONE);
        model.forward(
            engine.ops(),
            batch,
            (layer, x) -> {
              if (layer == 2) {
                expected.add(x.toFloats());
              }
            });
      }
      Tensor got = states.of(chunks.chunks().getFirst()).rows(0, LENGTHS[0]);
      assertThat(got.toFloats()).isEqualTo(expected.getFirst());
    }
  }
}
