package org.nanomodel.bench;

/**
 * What one call does at best.
 *
 * @param bytes read and written
 * @param rotated bytes of memory that calls take turns in; {@code bytes} when each call uses the
 *     same
 * @param flops floating-point operations; 0 where only bytes count
 */
record Work(double bytes, double rotated, double flops) {
  /** The same memory in each call. */
  static Work streaming(double bytes) {
    return new Work(bytes, bytes, 0);
  }
}
