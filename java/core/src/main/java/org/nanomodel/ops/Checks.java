package org.nanomodel.ops;

import java.lang.foreign.MemorySegment;
import java.util.Objects;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * Shape checks before memory is handed to native code. Messages are made only when they are thrown.
 */
final class Checks {
  private Checks() {}

  static void atLeast(String what, MemorySegment memory, long bytes) {
    if (memory == null || memory.byteSize() < bytes) {
      throw new IllegalArgumentException(
          what
              + " needs "
              + bytes
              + " bytes, got "
              + (memory == null ? "none" : memory.byteSize()));
    }
  }

  static void f32(String op, String name, Tensor t) {
    type(op, name, t, DataType.F32);
  }

  static void type(String op, String name, Tensor t, DataType type) {
    if (Objects.requireNonNull(t, name).type() != type) {
      throw new IllegalArgumentException(op + ": " + name + " is " + t + ", expected " + type);
    }
  }

  static void f32Matrix(String op, String name, Tensor t, long rows, long cols) {
    matrix(op, name, t, DataType.F32, rows, cols);
  }

  static void matrix(String op, String name, Tensor t, DataType type, long rows, long cols) {
    Objects.requireNonNull(t, name);
    if (t.type() != type || t.rows() != rows || t.cols() != cols) {
      throw new IllegalArgumentException(
          op + ": " + name + " is " + t + ", expected " + type + "[" + rows + ", " + cols + "]");
    }
  }

  static void f32Vector(String op, String name, Tensor t, long n) {
    vector(op, name, t, DataType.F32, n);
  }

  static void vector(String op, String name, Tensor t, DataType type, long n) {
    Objects.requireNonNull(t, name);
    if (t.type() != type || t.count() != n || !t.isDense()) {
      throw new IllegalArgumentException(
          op + ": " + name + " is " + t + ", expected dense " + type + "[" + n + "]");
    }
  }

  /** What native code may read; NULL where nothing is given. */
  static MemorySegment read(String name, Tensor t) {
    return memory(name, t, false);
  }

  static MemorySegment read(String name, MemorySegment s, int alignment) {
    return memory(name, s, alignment, false);
  }

  /** What native code may write; NULL where nothing is given. */
  static MemorySegment written(String name, Tensor t) {
    return memory(name, t, true);
  }

  static MemorySegment memory(String name, Tensor t, boolean written) {
    return t == null ? MemorySegment.NULL : memory(name, t.segment(), t.type().bytes(), written);
  }

  /**
   * An address in a struct carries none of the checks that Java makes on its own accesses; so they
   * are made here.
   */
  static MemorySegment memory(String name, MemorySegment s, int alignment, boolean written) {
    if (s == null) {
      return MemorySegment.NULL;
    }
    if (!s.isNative()) {
      throw new IllegalArgumentException(name + " lies on the Java heap, expected native memory");
    }
    if (!s.scope().isAlive()) {
      throw new IllegalStateException("the memory of " + name + " was closed");
    }
    if (!s.isAccessibleBy(Thread.currentThread())) {
      throw new WrongThreadException("the memory of " + name + " is confined to another thread");
    }
    if (written && s.isReadOnly()) {
      throw new IllegalArgumentException(name + " is written, but its memory is read-only");
    }
    if (s.address() % alignment != 0) {
      throw new IllegalArgumentException(
          name + " is misaligned, expected a multiple of " + alignment + " bytes");
    }
    return s;
  }

  /** The native code of a type that must be a float type. */
  static int code(String name, DataType type) {
    if (!Objects.requireNonNull(type, name).isFloat()) {
      throw new IllegalArgumentException(name + ": " + type + " is not a float type");
    }
    return type.nativeCode();
  }

  static void that(boolean ok, String op, String message, long got) {
    if (!ok) {
      throw new IllegalArgumentException(op + ": " + message + ", got " + got);
    }
  }
}
