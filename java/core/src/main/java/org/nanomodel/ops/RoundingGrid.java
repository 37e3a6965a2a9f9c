package org.nanomodel.ops;

import org.nanomodel.tensor.DataType;

/**
 * How weights are rounded to nearest.
 *
 * @param groupSize 1..K
 * @param scaleType scales are rounded to it before codes are taken
 */
public record RoundingGrid(int bits, long groupSize, boolean sym, DataType scaleType) {}
