package org.nanomodel.bench;

/**
 * What one call does at best.
 *
 * @param array bytes of each array of the traffic
 * @param memory bytes of all memory that calls take turns in
 * @param flops floating-point operations; 0 where only bytes count
 */
record Work(Traffic traffic, double array, double memory, double flops) {
  /** The same memory in each call. */
  static Work streaming(Traffic traffic, double array) {
    return new Work(traffic, array, array * traffic.arrays, 0);
  }

  /** Bytes read and written. */
  double bytes() {
    return array * traffic.moves;
  }
}
