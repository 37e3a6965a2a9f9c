package org.nanomodel.safetensors;

import static org.nanomodel.safetensors.SafetensorsException.quote;
import static org.nanomodel.safetensors.SafetensorsException.quoteTensor;

import java.nio.file.Path;
import java.util.Arrays;

/** The limits of the format and of this library, checked alike by readers and writers. */
final class Rules {
  static final String METADATA_KEY = "__metadata__";

  /** Bytes of the header-length field that starts every file. */
  static final int LENGTH_BYTES = 8;

  /** The reference implementation's limit. */
  static final long MAX_HEADER_BYTES = 100_000_000L;

  static final int MAX_TENSORS = 1_000_000;
  static final int MAX_RANK = 64;
  static final int MAX_NAME_CHARS = 4096;

  /** Keys and values together; large enough for the training logs that some tools store. */
  static final int MAX_METADATA_CHARS = 16 << 20;

  private Rules() {}

  static void checkName(Path file, String name) {
    String expected = null;
    if (name.isEmpty()) {
      expected = "a name that is not empty";
    } else if (name.length() > MAX_NAME_CHARS) {
      expected = "a name of at most " + MAX_NAME_CHARS + " characters";
    } else if (name.equals(METADATA_KEY)) {
      expected = "a name that is not reserved";
    } else if (hasControl(name)) {
      expected = "a name without control characters";
    } else if (hasLoneSurrogate(name)) {
      expected = "a name of whole Unicode characters";
    } else if (name.contains("..") && Arrays.asList(name.split("[/\\\\]", -1)).contains("..")) {
      expected = "a name without '..' path segments";
    }
    if (expected != null) {
      throw new SafetensorsException(file, "tensor name", quote(name), expected);
    }
  }

  private static boolean hasControl(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isISOControl(text.charAt(i))) {
        return true;
      }
    }
    return false;
  }

  static boolean hasLoneSurrogate(String text) {
    for (int i = 0; i < text.length(); i++) {
      if (Character.isSurrogate(text.charAt(i))) {
        if (!Character.isSupplementaryCodePoint(text.codePointAt(i))) {
          return true;
        }
        i++;
      }
    }
    return false;
  }

  /** Bytes of a tensor of this type and shape. */
  static long byteSize(Path file, String name, DType dtype, long[] shape) {
    if (shape.length > MAX_RANK) {
      throw new SafetensorsException(
          file,
          quoteTensor(name) + " shape",
          shape.length + " dimensions",
          "at most " + MAX_RANK + " dimensions");
    }
    long elements = 1;
    for (long dim : shape) {
      if (dim < 0) {
        throw new SafetensorsException(
            file, quoteTensor(name) + " shape", Arrays.toString(shape), "dimensions of 0 or more");
      }
      if (Math.multiplyHigh(elements, dim) != 0 || elements * dim < 0) {
        throw tooLarge(file, name, dtype, shape);
      }
      elements *= dim;
    }
    if (elements > Long.MAX_VALUE / dtype.bits()) {
      throw tooLarge(file, name, dtype, shape);
    }
    if (elements * dtype.bits() % 8 != 0) {
      throw new SafetensorsException(
          file,
          quoteTensor(name) + " shape",
          dtype + " " + Arrays.toString(shape) + ", " + elements * dtype.bits() + " bits",
          "whole bytes");
    }
    return elements * dtype.bits() / 8;
  }

  private static SafetensorsException tooLarge(Path file, String name, DType dtype, long[] shape) {
    return new SafetensorsException(
        file,
        quoteTensor(name) + " shape",
        dtype + " " + Arrays.toString(shape),
        "a size in bits below 2^63");
  }
}
