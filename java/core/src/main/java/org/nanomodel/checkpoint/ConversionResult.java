package org.nanomodel.checkpoint;

import java.util.List;

/**
 * What a conversion did.
 *
 * @param from {@code gptq}, {@code gptq_v2}, {@code pack-quantized} ..., or the dtype of a float
 *     model
 * @param to the format, or {@code float32}, {@code float16} or {@code bfloat16}
 * @param bytes of the tensors written
 * @param lossless to floats: every value is the one that a reader of the source computes in
 *     float32; to integers: codes, zeros, scales and groups are those of the source
 * @param warnings what may surprise other readers of the result
 */
public record ConversionResult(
    String from, String to, long bytes, boolean lossless, List<String> warnings) {}
