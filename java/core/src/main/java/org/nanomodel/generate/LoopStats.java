package org.nanomodel.generate;

/**
 * What a {@link GenerationLoop} is doing.
 *
 * @param active answers in the batch
 * @param queued requests that wait for a place
 * @param usedBlocks KV blocks in use
 * @param totalBlocks KV blocks that there can be
 * @param kvBytes memory that the KV cache holds now
 * @param steps steps so far
 * @param preemptions how often a text had to leave for lack of blocks, and was read again
 */
public record LoopStats(
    int active,
    int queued,
    int usedBlocks,
    int totalBlocks,
    long kvBytes,
    long steps,
    long preemptions) {}
