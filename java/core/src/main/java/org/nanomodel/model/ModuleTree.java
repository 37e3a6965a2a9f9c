package org.nanomodel.model;

import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The names of an architecture's modules, as its checkpoints write them: what the loader loads and
 * fuses, and what the quantizer quantizes, in which order, with which inputs in common.
 *
 * @param embedding the token embedding
 * @param positions the position embedding, where positions are learned
 * @param projectIn from embeddings that are narrower than the model; null where none can be
 * @param projectOut back to them
 * @param transposed whether the float weights of the blocks' linears are stored [K, N]
 * @param blocks the list of blocks; block i is {@code blocks.i}
 * @param norm the norm after the last block
 * @param head the output projection; the embedding's weight serves where they are tied
 * @param groups the linears of a block, in quantizing order; those of one group share their input
 * @param norms the norms of a block
 */
public record ModuleTree(
    String embedding,
    Optional<Positions> positions,
    String projectIn,
    String projectOut,
    boolean transposed,
    String blocks,
    String norm,
    String head,
    List<Group> groups,
    List<String> norms) {

  /**
   * A learned embedding of positions.
   *
   * @param offset the row of position 0
   */
  public record Positions(String module, int offset) {}

  /**
   * Linears that share an input.
   *
   * @param source the module of the block whose output (for a linear: after what lies between) is
   *     their input: where the scales of AWQ and SmoothQuant are folded, into the last rows of a
   *     linear; null where a nonlinearity between forbids it
   * @param modules their names within the block
   */
  public record Group(String source, List<String> modules) {
    public Group {
      modules = List.copyOf(modules);
    }
  }

  public ModuleTree {
    groups = List.copyOf(groups);
    norms = List.copyOf(norms);
  }

  static Group group(String source, String... modules) {
    return new Group(source, List.of(modules));
  }

  /** Whether a norm feeds the group, rather than a linear. */
  public boolean fedByNorm(Group group) {
    return group.source() != null && norms.contains(group.source());
  }

  /** Whether the float weight of a linear is stored [K, N], as GPT-2's Conv1D does. */
  public boolean isTransposed(String module) {
    return transposed && module.startsWith(blocks + ".");
  }

  /** {@code model.layers.3}. */
  public String block(int layer) {
    return blocks + "." + layer;
  }

  /** {@code model.layers.3.self_attn.q_proj}. */
  public String module(int layer, String name) {
    return block(layer) + "." + name;
  }

  /** The full names of a group's linears. */
  public List<String> modules(int layer, Group group) {
    return group.modules().stream().map(name -> module(layer, name)).toList();
  }

  /** The full names of all linears of a block, in quantizing order. */
  public List<String> linears(int layer) {
    return groups.stream().flatMap(g -> modules(layer, g).stream()).toList();
  }

  /**
   * The full names of all linears of the blocks, in quantizing order; the head is not among them.
   */
  public Stream<String> linears(Config config) {
    return java.util.stream.IntStream.range(0, config.layers())
        .boxed()
        .flatMap(i -> linears(i).stream());
  }
}
