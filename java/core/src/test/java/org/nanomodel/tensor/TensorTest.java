package org.nanomodel.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.junit.jupiter.api.Test;
import org.nanomodel.NativeException;

class TensorTest {
  private static Tensor numbers(Arena arena, long rows, long cols) {
    Tensor t = Tensor.allocate(arena, DataType.F32, rows, cols);
    for (long r = 0; r < rows; r++) {
      for (long c = 0; c < cols; c++) {
        t.setFloat(r, c, 10 * r + c);
      }
    }
    return t;
  }

  @Test
  void viewsShareMemoryAndKnowTheirStride() {
    try (var arena = Arena.ofConfined()) {
      Tensor t = numbers(arena, 4, 5);
      Tensor middle = t.columns(1, 3).rows(1, 2);
      assertThat(middle.toFloats()).containsExactly(11, 12, 13, 21, 22, 23);
      assertThat(middle.rowStride()).isEqualTo(5);
      assertThat(middle.isDense()).isFalse();
      assertThat(middle.rows(1, 1).isDense()).as("one row has no gaps").isTrue();
      assertThat(middle.segment().byteSize())
          .as("from the first element to the last")
          .isEqualTo(4 * (5 + 3));
      middle.setFloat(1, 2, -1);
      assertThat(t.getFloat(2, 3)).isEqualTo(-1);
      assertThat(t.reshape(2, 10).getFloat(1, 0)).isEqualTo(20);
      assertThat(t.toString()).isEqualTo("F32[4, 5]");
      assertThat(middle.toString()).isEqualTo("F32[2, 3]/5");
    }
  }

  @Test
  void whatLiesOutsideIsRefused() {
    try (var arena = Arena.ofConfined()) {
      Tensor t = numbers(arena, 4, 5);
      assertThatThrownBy(() -> t.rows(3, 2)).isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.rows(-1, 2)).isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.rows(2, Long.MAX_VALUE))
          .isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.columns(5, 1)).isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.columns(0, 3).getFloat(0, 3))
          .isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.getFloat(4, 0)).isInstanceOf(IndexOutOfBoundsException.class);
      assertThatThrownBy(() -> t.columns(0, 3).reshape(12)).hasMessageContaining("strided");
      assertThatThrownBy(() -> t.reshape(3, 5)).hasMessageContaining("cannot reshape");
      MemorySegment few = arena.allocate(79);
      assertThatThrownBy(() -> Tensor.of(DataType.F32, few, 4, 5))
          .hasMessageContaining("needs 80 bytes, got 79");
      assertThat(t.rows(4, 0).toFloats()).isEmpty();
    }
  }

  @Test
  void sizesThatOverflowAreRefusedBeforeMemoryIsAsked() {
    assertThatThrownBy(() -> Tensor.byteSize(DataType.F32, 1L << 31, 1L << 31))
        .hasMessageContaining("overflows");
    assertThatThrownBy(() -> Tensor.byteSize(DataType.U8, 4, -1)).hasMessageContaining("negative");
    assertThat(Tensor.byteSize(DataType.BF16, 3, 0, 5)).isZero();
    assertThat(Tensor.byteSize(DataType.F64)).as("a scalar").isEqualTo(8);
  }

  @Test
  void memoryThatIsNotThereIsSaidInBytes() {
    try (var arena = Arena.ofConfined()) {
      assertThatThrownBy(() -> Tensor.allocate(arena, DataType.F32, 1L << 24, 1L << 35))
          .isInstanceOfSatisfying(
              NativeException.class, e -> assertThat(e.code()).isEqualTo(NativeException.MEMORY))
          .hasMessageContaining("F32[16777216, 34359738368] of 2305843009213693952 bytes");
    }
  }

  @Test
  void ownMemoryIsAligned() {
    try (var arena = Arena.ofConfined()) {
      Tensor t = Tensor.allocate(arena, DataType.F32, 2, 2);
      assertThat(t.segment().address() % Tensor.ALIGNMENT).isZero();
    }
  }

  @Test
  void integersOfBothWidthsAreRead() {
    try (var arena = Arena.ofConfined()) {
      assertThat(Tensor.ofInts(arena, new int[] {3, -1}).toInts()).containsExactly(3, -1);
      Tensor longs = Tensor.allocate(arena, DataType.I64, 2);
      longs.segment().setAtIndex(java.lang.foreign.ValueLayout.JAVA_LONG, 1, 1L << 40);
      assertThatThrownBy(longs::toInts).isInstanceOf(ArithmeticException.class);
      assertThat(longs.rows(0, 1).toInts()).containsExactly(0);
    }
  }

  @Test
  void typesHaveTheNamesOfTheEcosystem() {
    assertThat(DataType.ofName("BF16")).contains(DataType.BF16);
    assertThat(DataType.ofName("bf16")).isEmpty();
    assertThat(DataType.ofTorchName("torch.float16")).contains(DataType.F16);
    assertThat(DataType.ofTorchName("bfloat16")).contains(DataType.BF16);
    assertThat(DataType.ofTorchName("int8")).isEmpty();
    assertThatThrownBy(DataType.I32::nativeCode).hasMessageContaining("not a float type");
  }
}
