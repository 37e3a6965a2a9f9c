package org.nanomodel.ops;

import java.lang.foreign.MemorySegment;

/**
 * A weight as kernels read it.
 *
 * @param bits of the checkpoint's weight; 0 = float
 * @param data private to the native library; its own checks refuse what is damaged
 */
public record PackedImage(int bits, MemorySegment data) {}
