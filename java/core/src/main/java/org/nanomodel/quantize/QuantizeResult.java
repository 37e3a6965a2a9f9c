package org.nanomodel.quantize;

import java.nio.file.Path;
import java.util.List;
import org.nanomodel.QuantizeConfig;

/**
 * What a job made.
 *
 * @param model the float model
 * @param output the checkpoint
 * @param config how
 * @param alreadyDone the output held the same finished job, and nothing was done
 * @param bpw bits per weight of the quantized modules, with scales, zeros and g_idx
 * @param bpwModel bits per weight of the whole model, embeddings and norms included
 * @param bytes of all tensors
 * @param seconds of this run
 * @param peakRssBytes most memory this process has had; 0 where the system does not tell
 * @param modules in the order of the layers
 */
public record QuantizeResult(
    Path model,
    Path output,
    QuantizeConfig config,
    boolean alreadyDone,
    double bpw,
    double bpwModel,
    long bytes,
    double seconds,
    long peakRssBytes,
    List<ModuleResult> modules) {}
