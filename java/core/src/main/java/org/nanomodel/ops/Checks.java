package org.nanomodel.ops;

import java.lang.foreign.MemorySegment;
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
    if (t.type() != type) {
      throw new IllegalArgumentException(op + ": " + name + " is " + t + ", expected " + type);
    }
  }

  static void f32Matrix(String op, String name, Tensor t, long rows, long cols) {
    matrix(op, name, t, DataType.F32, rows, cols);
  }

  static void matrix(String op, String name, Tensor t, DataType type, long rows, long cols) {
    if (t.type() != type || t.rows() != rows || t.cols() != cols) {
      throw new IllegalArgumentException(
          op + ": " + name + " is " + t + ", expected " + type + "[" + rows + ", " + cols + "]");
    }
  }

  static void f32Vector(String op, String name, Tensor t, long n) {
    vector(op, name, t, DataType.F32, n);
  }

  static void vector(String op, String name, Tensor t, DataType type, long n) {
    if (t.type() != type || t.count() != n || !t.isDense()) {
      throw new IllegalArgumentException(
          op + ": " + name + " is " + t + ", expected dense " + type + "[" + n + "]");
    }
  }

  static void that(boolean ok, String op, String message, long got) {
    if (!ok) {
      throw new IllegalArgumentException(op + ": " + message + ", got " + got);
    }
  }
}
