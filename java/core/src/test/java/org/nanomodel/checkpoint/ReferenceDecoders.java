package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Assumptions;
import org.nanomodel.SharedData;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.SafetensorsFile;
import org.nanomodel.safetensors.TensorInfo;

/**
 * golden/reference/layouts.py: decoders in numpy, written from the rules of the formats and
 * independently of this program.
 */
public final class ReferenceDecoders {
  private static final String DRIVER =
      """
      import sys
      sys.path.insert(0, sys.argv[1])
      import layouts
      for d in sys.argv[2:]:
          layouts.write_safetensors(d + "/reference.safetensors", layouts.decode(d))
      """;

  private ReferenceDecoders() {}

  /** Decodes checkpoints; skips the test where there is no Python with numpy. */
  public static void decode(List<Path> directories) throws IOException, InterruptedException {
    Path reference = SharedData.require("golden/reference");
    Assumptions.assumeTrue(
        run(List.of("-c", "import numpy")) == 0, "python3 with numpy is not there: skipped");
    var command = new ArrayList<>(List.of("-B", "-c", DRIVER, reference.toString()));
    directories.forEach(d -> command.add(d.toString()));
    assertThat(run(command)).as("exit status of the decoders").isZero();
  }

  private static int run(List<String> arguments) throws IOException, InterruptedException {
    var command = new ArrayList<>(List.of("python3"));
    command.addAll(arguments);
    try {
      var process = new ProcessBuilder(command).inheritIO().start();
      assertThat(process.waitFor(5, TimeUnit.MINUTES)).isTrue();
      return process.exitValue();
    } catch (IOException e) {
      return -1; // no python3
    }
  }

  /** What they made of a checkpoint is what this program makes of it, but for signs of zeros. */
  public static void assertSameWeights(Engine engine, Path directory) {
    try (var model = ModelDirectory.open(directory, engine);
        var expected = SafetensorsFile.open(directory.resolve("reference.safetensors"))) {
      assertThat(expected.tensors()).hasSameSizeAs(model.quantizedModules());
      for (String module : model.quantizedModules()) {
        try (var arena = Arena.ofConfined()) {
          assertEqualFloats(
              directory.getFileName() + " " + module,
              model.stored(arena, module).floats(arena, engine.ops()).segment(),
              expected.segment(module + ".weight"));
        }
      }
    }
  }

  /** Two checkpoints hold the same modules: codes, zeros, scales and groups; the rest is equal. */
  public static void assertSame(Engine engine, ModelDirectory expected, ModelDirectory got) {
    assertThat(got.quantizedModules())
        .containsExactlyInAnyOrderElementsOf(expected.quantizedModules());
    for (String module : expected.quantizedModules()) {
      try (var arena = Arena.ofConfined()) {
        StoredWeight a = expected.stored(arena, module);
        StoredWeight b = got.stored(arena, module);
        if (a.channelScales() == null || b.channelScales() == null) {
          assertSame(module, a.oneLevel(arena), b.oneLevel(arena));
        } else {
          assertSame(module, a.codes(), b.codes());
          assertThat(b.channelScales().segment().mismatch(a.channelScales().segment()))
              .isEqualTo(-1);
        }
        if (a.offsets() != null) {
          assertThat(b.offsets().segment().mismatch(a.offsets().segment())).isEqualTo(-1);
        }
      }
    }
    for (TensorInfo tensor : expected.tensors()) {
      String module = tensor.name().replaceFirst("\\.[^.]*$", "");
      if (!expected.quantizedModules().contains(module) || tensor.name().endsWith(".bias")) {
        assertThat(got.bytes(tensor.name()).mismatch(expected.bytes(tensor.name()))).isEqualTo(-1);
      }
    }
  }

  private static void assertSame(String module, QuantizedWeight a, QuantizedWeight b) {
    assertThat(List.of(b.bits(), b.n(), b.k(), b.groupSize()))
        .isEqualTo(List.of(a.bits(), a.n(), a.k(), a.groupSize()));
    assertThat(b.codes().mismatch(a.codes())).as(module + " codes").isEqualTo(-1);
    assertThat(b.scales().mismatch(a.scales())).as(module + " scales").isEqualTo(-1);
    assertThat(b.zeros().mismatch(a.zeros())).as(module + " zeros").isEqualTo(-1);
    assertThat(b.gIdx() == null).as(module + " g_idx").isEqualTo(a.gIdx() == null);
    if (a.gIdx() != null) {
      long bytes = 4 * a.k();
      assertThat(b.gIdx().asSlice(0, bytes).mismatch(a.gIdx().asSlice(0, bytes))).isEqualTo(-1);
    }
  }

  /** Bit for bit, but for the sign of zeros. */
  static void assertEqualFloats(String what, MemorySegment got, MemorySegment expected) {
    assertThat(got.byteSize()).as(what).isEqualTo(expected.byteSize());
    for (long at = 0; at < got.byteSize(); at += 4) {
      float a = got.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at);
      float b = expected.get(ValueLayout.JAVA_FLOAT_UNALIGNED, at);
      if (a != b) {
        assertThat(a).as(what + ": element " + at / 4).isEqualTo(b);
      }
    }
  }
}
