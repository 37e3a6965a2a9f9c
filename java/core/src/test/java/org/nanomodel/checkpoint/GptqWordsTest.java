package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.nanomodel.Format;
import org.nanomodel.UnsupportedModelException;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.GptqLayout;
import org.nanomodel.ops.QuantizedWeight;
import org.nanomodel.safetensors.DType;
import org.nanomodel.safetensors.TensorSpec;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/** GPTQ tensors of narrow words and of bit planes, which are read but not written. */
class GptqWordsTest {
  private static Engine engine;

  @TempDir Path temp;

  @BeforeAll
  static void open() {
    engine = Engine.open();
  }

  @AfterAll
  static void close() {
    engine.close();
  }

  @ParameterizedTest
  @CsvSource({
    "int16, I16, false, 4", "int16, I16, false, 8", "int16, I16, false, 2",
    "int8, I8, false, 4", "int8, I8, false, 8", "int8, I8, false, 2",
    "int32, I32, true, 3", "int32, I32, true, 5", "int32, I32, true, 6",
    "int32, I32, true, 7", "int32, I32, true, 4", "int32, I32, true, 8"
  })
  void narrowWordsAndBitPlanesAreReadBack(String packDtype, DataType type, boolean planar, int bits)
      throws IOException {
    for (boolean named : new boolean[] {true, false}) { // with g_idx and without
      try (var arena = Arena.ofConfined()) {
        var w = GptqCodecTest.random(arena, bits, 40, 96, 32, Format.GPTQ, false);
        var layout = new GptqLayout(type, planar, planar ? 0 : 1);
        Tensor qweight = Tensor.allocate(arena, type, layout.words(96, bits), 40);
        Tensor qzeros = Tensor.allocate(arena, type, 3, layout.words(40, bits));
        engine.ops().gptqPack(qweight, qzeros, w, layout);
        var rest = GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ);
        var specs = new ArrayList<>(GptqParts.specs("m", 40, 96, bits, 32));
        specs.set(0, new TensorSpec("m.qweight", DType.valueOf(type.name()), qweight.shape()));
        specs.set(1, new TensorSpec("m.qzeros", DType.valueOf(type.name()), qzeros.shape()));
        Path directory = Files.createTempDirectory(temp, "words");
        GptqCodecTest.write(
            directory,
            new GptqParts(qweight, qzeros, rest.scales(), rest.gIdx()),
            specs.subList(0, named ? 4 : 3),
            "{\"bits\":%d,\"group_size\":32,\"sym\":false,\"format\":\"%s\",\"pack_dtype\":\"%s\"}"
                .formatted(bits, planar ? "gptq_p" : "gptq", packDtype));
        try (var model = ModelDirectory.open(directory, engine)) {
          GptqCodecTest.assertSame(w, (QuantizedWeight) model.linear(arena, "m"));
          assertThat(model.rows("m")).isEqualTo(40);
          assertThat(model.columns("m")).isEqualTo(96);
        }
      }
    }
  }

  @Test
  void wholeNarrowWordsThatGptqModelConvertedAreReadAsItReadsThem() throws IOException {
    // FORMATS 1.3 hazard A in words of 16 bits: zeros 2 0 8 11 = 0xb802, less 0x1111
    short[] words = {(short) (0xb802 - 0x1111), (short) (0x852e - 0x1111)};
    try (var arena = Arena.ofConfined()) {
      var w = GptqCodecTest.weight(arena, 4, 8, 32, 32);
      var layout = new GptqLayout(DataType.I16, false, 1);
      Tensor qweight = Tensor.allocate(arena, DataType.I16, layout.words(32, 4), 8);
      Tensor qzeros = Tensor.allocate(arena, DataType.I16, 1, 2);
      for (int i = 0; i < 2; i++) {
        qzeros.segment().set(ValueLayout.JAVA_SHORT, 2L * i, words[i]);
      }
      var rest = GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ);
      var specs = new ArrayList<>(GptqParts.specs("m", 8, 32, 4, 32));
      specs.set(0, new TensorSpec("m.qweight", DType.I16, qweight.shape()));
      specs.set(1, new TensorSpec("m.qzeros", DType.I16, 1, 2));
      GptqCodecTest.write(
          temp.resolve("borrow"),
          new GptqParts(qweight, qzeros, rest.scales(), rest.gIdx()),
          specs,
          "{\"bits\":4,\"group_size\":32,\"sym\":false,\"pack_dtype\":\"int16\","
              + "\"meta\":{\"quantizer\":[\"gptqmodel:7.3.4\"]}}");
      try (var model = ModelDirectory.open(temp.resolve("borrow"), engine)) {
        var zeros = ((QuantizedWeight) model.linear(arena, "m")).zeros();
        assertThat(zeros.toArray(ValueLayout.JAVA_BYTE)).startsWith(2, 0, 8, 11, 14, 2, 5, 8);
      }
    }
  }

  @Test
  void oddWidthsInNarrowWordsAreRefused() throws IOException {
    try (var arena = Arena.ofConfined()) {
      var w = GptqCodecTest.weight(arena, 3, 32, 32, 32);
      GptqCodecTest.write(
          temp.resolve("odd"),
          GptqParts.pack(arena, engine.ops(), "m", w, Format.GPTQ),
          GptqParts.specs("m", 32, 32, 3, 32),
          "{\"bits\":3,\"group_size\":32,\"pack_dtype\":\"int16\"}");
      try (var model = ModelDirectory.open(temp.resolve("odd"), engine)) {
        assertThatThrownBy(() -> model.linear(arena, "m"))
            .isInstanceOf(UnsupportedModelException.class)
            .hasMessageContaining("3 bits in words of 16");
      }
    }
  }
}
