package org.nanomodel.safetensors;

/**
 * The element types of the safetensors format; a constant's name is its spelling in a header.
 *
 * <p>The order is that of the reference implementation. Writers sort by it, last constant first, so
 * that every tensor starts at a multiple of its element size and equal input gives equal bytes.
 */
public enum DType {
  /** One byte, 0 or 1. */
  BOOL(8),
  /** OCP MX 4-bit float, two to a byte. */
  F4(4),
  /** OCP MX 6-bit float, 2 exponent bits. */
  F6_E2M3(6),
  /** OCP MX 6-bit float, 3 exponent bits. */
  F6_E3M2(6),
  /** Unsigned 8-bit integer. */
  U8(8),
  /** Signed 8-bit integer. */
  I8(8),
  /** OCP 8-bit float, 5 exponent bits, with infinities. */
  F8_E5M2(8),
  /** OCP 8-bit float, 4 exponent bits, without infinities (PyTorch's float8_e4m3fn). */
  F8_E4M3(8),
  /** OCP MX scale: a power of two, 2^(byte - 127). */
  F8_E8M0(8),
  /** 8-bit float, 4 exponent bits, bias 8, no negative zero. */
  F8_E4M3FNUZ(8),
  /** 8-bit float, 5 exponent bits, bias 16, no negative zero. */
  F8_E5M2FNUZ(8),
  /** Signed 16-bit integer. */
  I16(16),
  /** Unsigned 16-bit integer. */
  U16(16),
  /** IEEE 754 binary16. */
  F16(16),
  /** The upper half of an IEEE 754 binary32. */
  BF16(16),
  /** Signed 32-bit integer. */
  I32(32),
  /** Unsigned 32-bit integer. */
  U32(32),
  /** IEEE 754 binary32. */
  F32(32),
  /** Complex number of two binary32. */
  C64(64),
  /** IEEE 754 binary64. */
  F64(64),
  /** Signed 64-bit integer. */
  I64(64),
  /** Unsigned 64-bit integer. */
  U64(64);

  private static final DType[] ALL = values();

  private final int bits;

  DType(int bits) {
    this.bits = bits;
  }

  /**
   * Size of one element.
   *
   * @return bits
   */
  public int bits() {
    return bits;
  }

  /**
   * Size of one element.
   *
   * @return bytes
   * @throws UnsupportedOperationException if an element is smaller than a byte (F4, F6)
   */
  public int bytes() {
    if (bits % 8 != 0) {
      throw new UnsupportedOperationException(this + " has " + bits + " bits, not whole bytes");
    }
    return bits / 8;
  }

  /**
   * Size of a tensor.
   *
   * @param elements number of elements, not negative
   * @return bytes
   * @throws ArithmeticException if the size in bits does not fit 63 bits, or is not whole bytes
   */
  public long byteSize(long elements) {
    long total = Math.multiplyExact(elements, (long) bits);
    if (total % 8 != 0) {
      throw new ArithmeticException(total + " bits are not whole bytes");
    }
    return total / 8;
  }

  /** The type spelled by {@code length} characters of {@code text}, or null. Allocates nothing. */
  static DType spelled(char[] text, int offset, int length) {
    for (DType type : ALL) {
      String name = type.name();
      if (name.length() == length && matches(name, text, offset)) {
        return type;
      }
    }
    return null;
  }

  private static boolean matches(String name, char[] text, int offset) {
    for (int i = 0; i < name.length(); i++) {
      if (name.charAt(i) != text[offset + i]) {
        return false;
      }
    }
    return true;
  }
}
