package org.nanomodel.tensor;

import java.util.Optional;

/** Element types, under the names that safetensors writes. */
public enum DataType {
  F64(8, 3),
  F32(4, 0),
  F16(2, 1),
  BF16(2, 2),
  F8_E4M3(1, 4),
  F8_E5M2(1, 5),
  I64(8, -1),
  I32(4, -1),
  I16(2, -1),
  I8(1, -1),
  U64(8, -1),
  U32(4, -1),
  U16(2, -1),
  U8(1, -1),
  BOOL(1, -1);

  private final int bytes;
  private final int code;

  DataType(int bytes, int code) {
    this.bytes = bytes;
    this.code = code;
  }

  /** Bytes of one element. */
  public int bytes() {
    return bytes;
  }

  public boolean isFloat() {
    return code >= 0;
  }

  /** The {@code nm_type} of nanomodel.h. */
  public int nativeCode() {
    if (code < 0) {
      throw new IllegalArgumentException(
          this + " is not a float type: the kernels take F64 F32 F16 BF16 F8_E4M3 F8_E5M2");
    }
    return code;
  }

  /** The type of a safetensors name ({@code "BF16"}). */
  public static Optional<DataType> ofName(String name) {
    for (var type : values()) {
      if (type.name().equals(name)) {
        return Optional.of(type);
      }
    }
    return Optional.empty();
  }

  /** The type of a {@code dtype} in config.json ({@code "bfloat16"}, {@code "torch.float16"}). */
  public static Optional<DataType> ofTorchName(String name) {
    return switch (name.startsWith("torch.") ? name.substring(6) : name) {
      case "float64", "double" -> Optional.of(F64);
      case "float32", "float" -> Optional.of(F32);
      case "float16", "half" -> Optional.of(F16);
      case "bfloat16" -> Optional.of(BF16);
      case "float8_e4m3fn" -> Optional.of(F8_E4M3);
      case "float8_e5m2" -> Optional.of(F8_E5M2);
      default -> Optional.empty();
    };
  }
}
