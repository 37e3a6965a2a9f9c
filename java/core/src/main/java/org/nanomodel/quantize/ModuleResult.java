package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;
import org.nanomodel.json.JsonFile;

/**
 * One quantized module, a row of quant_log.csv.
 *
 * @param layer number of its block; the head counts as one more
 * @param name its path
 * @param bits of a code
 * @param groupSize as in the config; -1 = whole row
 * @param loss what the method makes small; for round to nearest, chosen or fallen back to, the
 *     relative error |W - Wq| / |W| of the weights (Frobenius)
 * @param samples rows of calibration it has seen; 0 for round to nearest
 * @param damp what was added to the diagonal; 0 for round to nearest
 * @param seconds its own time, and its share of what it has in common with others
 * @param fallback why it was rounded to nearest, though another method was asked for
 */
public record ModuleResult(
    int layer,
    String name,
    int bits,
    long groupSize,
    double loss,
    long samples,
    double damp,
    double seconds,
    Optional<String> fallback) {

  ObjectNode toJson() {
    var json =
        JsonFile.object()
            .put("layer", layer)
            .put("name", name)
            .put("bits", bits)
            .put("group_size", groupSize)
            .put("loss", loss)
            .put("samples", samples)
            .put("damp", damp)
            .put("seconds", seconds);
    fallback.ifPresent(why -> json.put("fallback", why));
    return json;
  }

  static ModuleResult of(JsonNode json) {
    return new ModuleResult(
        json.path("layer").asInt(),
        json.path("name").asText(),
        json.path("bits").asInt(),
        json.path("group_size").asLong(),
        json.path("loss").asDouble(),
        json.path("samples").asLong(),
        json.path("damp").asDouble(),
        json.path("seconds").asDouble(),
        Optional.ofNullable(json.path("fallback").textValue()));
  }
}
