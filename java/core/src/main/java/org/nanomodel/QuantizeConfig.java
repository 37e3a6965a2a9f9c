package org.nanomodel;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.nanomodel.checkpoint.Codec;
import org.nanomodel.checkpoint.DynamicOverrides;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.json.JsonFile;
import org.nanomodel.quantize.GptqOptions;
import org.nanomodel.tensor.DataType;

/**
 * How to quantize a model. Immutable; {@code
 * QuantizeConfig.builder().bits(4).groupSize(128).build()}.
 *
 * @param bits 2, 3, 4 or 8
 * @param groupSize input columns that share a scale; -1 = the whole row. A row that it does not
 *     divide ends in a short group
 * @param sym symmetric: the zero is 2^(bits-1) everywhere
 * @param descAct columns in order of falling importance; needs calibration
 * @param lmHead quantize the output head too, where the model does not tie it to the embedding
 * @param method how codes are chosen
 * @param format the layout of the checkpoint
 * @param dynamic what differs for modules that a regular expression names
 * @param gptq what methods gptq, gptaq and qqq are told beyond that
 * @param adapterRank of the low-rank adapter that EoRA makes for each module; 0 = none
 * @param smooth whether method qqq scales large activations down first; smoothquant always does
 * @param alpha how much of what makes activations large smoothing moves into weights, 0..1
 */
public record QuantizeConfig(
    int bits,
    long groupSize,
    boolean sym,
    boolean descAct,
    boolean lmHead,
    Method method,
    Format format,
    DynamicOverrides dynamic,
    GptqConfig gptq,
    int adapterRank,
    boolean smooth,
    double alpha) {

  private static final List<Integer> BITS = List.of(2, 3, 4, 8);
  private static final int MAX_RANK = 4096;
  private static final Set<Method> WITH_ADAPTER =
      EnumSet.of(Method.RTN, Method.GPTQ, Method.GPTAQ, Method.AWQ);
  private static final Set<Format> WITH_COLUMN_GROUPS =
      EnumSet.of(Format.GPTQ, Format.GPTQ_V2, Format.COMPRESSED_TENSORS);

  public QuantizeConfig {
    if (method == Method.QQQ && format != Format.QQQ) {
      throw new NanoModelException(
          "method qqq writes format qqq, not " + format + ": convert it, or use method gptq");
    }
    if (method == Method.SMOOTHQUANT && !smooth) {
      throw new NanoModelException("method smoothquant is smoothing: use method rtn without it");
    }
    if (method == Method.GPTAQ && !gptq.trueSequential()) {
      throw new NanoModelException(
          "method gptaq makes up for what was quantized before, within a layer too: leave"
              + " true_sequential on, or use method gptq");
    }
    if (!(alpha >= 0 && alpha <= 1)) {
      throw new NanoModelException("alpha " + alpha + ": expected 0 to 1");
    }
    checkRank("", adapterRank);
    if (hasAdapter(adapterRank, dynamic) && !WITH_ADAPTER.contains(method)) {
      throw new NanoModelException(
          "adapter: method " + method + " makes none: use one of " + WITH_ADAPTER);
    }
    checkScheme("", new ModuleScheme(bits, groupSize, sym, descAct), method, format, gptq);
  }

  private static void checkRank(String at, long rank) {
    if (rank < 0 || rank > MAX_RANK) {
      throw new NanoModelException(
          at + "adapter rank " + rank + ": expected 0 (none) to " + MAX_RANK);
    }
  }

  private static boolean hasAdapter(int rank, DynamicOverrides dynamic) {
    return rank > 0
        || dynamic.toJson().findValues("adapter").stream()
            .anyMatch(a -> a.path("rank").asInt() > 0);
  }

  private static void checkScheme(
      String at, ModuleScheme scheme, Method method, Format format, GptqConfig gptq) {
    if (scheme.descAct()) {
      checkDescAct(at, method, format, gptq);
    }
    int bits = scheme.bits();
    long groupSize = scheme.groupSize();
    if (!BITS.contains(bits)) {
      throw new NanoModelException(at + "bits " + bits + ": expected one of 2, 3, 4, 8");
    }
    if (groupSize != -1 && (groupSize < 1 || groupSize > Integer.MAX_VALUE)) {
      throw new NanoModelException(
          at
              + "group_size "
              + groupSize
              + ": expected -1 (whole row) or a positive number, 16 to 128 as a rule");
    }
    Codec.of(format)
        .refusal(written(scheme, method, gptq))
        .ifPresent(why -> {
          throw new NanoModelException(at + "format " + format + ": " + why);
        });
  }

  private static void checkDescAct(String at, Method method, Format format, GptqConfig gptq) {
    if (!method.isCalibrated()) {
      throw new NanoModelException(
          at
              + "desc_act orders columns by calibration data, which method "
              + method
              + " does not use: leave it off");
    }
    boolean ownGroups = method != Method.QQQ && !gptq.staticGroups();
    if (ownGroups && !WITH_COLUMN_GROUPS.contains(format)) {
      throw new NanoModelException(
          at
              + "desc_act gives each column a group of its own choice, which format "
              + format
              + " cannot write: leave it off, switch static_groups on, or use one of "
              + WITH_COLUMN_GROUPS);
    }
    if (gptq.actGroupAware().orElse(false)) {
      throw new NanoModelException(
          at + "desc_act and act_group_aware exclude each other: leave one of them off");
    }
  }

  /**
   * What holds for one module after overrides: refused, naming the module, where it cannot be
   * written.
   */
  public Optional<ModuleScheme> scheme(String module) {
    var scheme = dynamic.apply(module, defaults());
    scheme.ifPresent(s -> checkScheme(module + ": ", s, method, format, gptq(module)));
    adapterRank(module); // checks it
    return scheme.map(s -> written(s, method, gptq(module)));
  }

  /** A scheme as a checkpoint has it, where an order that leaves groups in place is none. */
  private static ModuleScheme written(ModuleScheme s, Method method, GptqConfig gptq) {
    boolean ordered = s.descAct() && method != Method.QQQ && !gptq.staticGroups();
    return new ModuleScheme(s.bits(), s.groupSize(), s.sym(), ordered);
  }

  /** All that GPTQ needs for a module that is not left in float. */
  public GptqOptions gptqOptions(String module, DataType scaleType) {
    var scheme = dynamic.apply(module, defaults()).orElseThrow();
    GptqOptions options = gptq(module).options(scheme, scaleType);
    return method == Method.QQQ ? options.qqq() : options;
  }

  /** Whether activations are scaled down before weights are quantized. */
  public boolean smooths() {
    return method == Method.SMOOTHQUANT || method == Method.QQQ && smooth;
  }

  /** What GPTQ is told about one module, after overrides. */
  public GptqConfig gptq(String module) {
    return gptq.with(dynamic.values(module), "dynamic for " + module);
  }

  /** The rank of the adapter of one module, after overrides ({@code adapter.rank}); 0 = none. */
  public int adapterRank(String module) {
    JsonNode rank = dynamic.values(module).path("adapter").path("rank");
    if (rank.isMissingNode() || rank.isNull()) {
      return adapterRank;
    }
    if (!rank.canConvertToInt() || !rank.isIntegralNumber()) {
      throw new NanoModelException(
          "dynamic for " + module + ": adapter.rank is " + rank + ", expected a whole number");
    }
    checkRank("dynamic for " + module + ": ", rank.intValue());
    return rank.intValue();
  }

  /** Whether any module may get an adapter. */
  public boolean hasAdapter() {
    return hasAdapter(adapterRank, dynamic);
  }

  /** Whether it takes calibration data. */
  public boolean isCalibrated() {
    return method.isCalibrated() || hasAdapter();
  }

  /** What holds for modules that no override names. */
  public ModuleScheme defaults() {
    return new ModuleScheme(bits, groupSize, sym, descAct);
  }

  /** 4 bits, groups of 128, symmetric, round to nearest, format gptq. */
  public static Builder builder() {
    return new Builder();
  }

  /** The same values under the ecosystem's keys. */
  public ObjectNode toJson() {
    var json = JsonFile.object();
    json.put("bits", bits);
    if (!dynamic.isEmpty()) {
      json.set("dynamic", dynamic.toJson());
    }
    json.put("group_size", groupSize);
    json.put("desc_act", descAct);
    json.put("lm_head", lmHead);
    json.put("method", method.value());
    json.put("format", format.value());
    json.put("sym", sym);
    if (adapterRank > 0) {
      json.putObject("adapter").put("name", "lora").put("rank", adapterRank);
    }
    describe(json);
    return json;
  }

  /** Adds what the method was told beyond the scheme, under the ecosystem's keys. */
  public void describe(ObjectNode json) {
    if (method.isGptq()) {
      gptq.toJson(json, method, descAct);
    }
    if (method == Method.QQQ) {
      json.put("smooth", smooth);
    }
    if (smooths()) {
      json.put("alpha", alpha);
    }
  }

  /** Collects values; {@link #build} checks them. */
  public static final class Builder {
    private int bits = 4;
    private long groupSize = 128;
    private boolean sym = true;
    private boolean descAct;
    private boolean lmHead;
    private Method method = Method.RTN;
    private Format format;
    private DynamicOverrides dynamic = DynamicOverrides.NONE;
    private Optional<GptqConfig> gptq = Optional.empty();
    private boolean smooth = true;
    private int adapterRank;
    private double alpha = 0.5;

    private Builder() {}

    public Builder bits(int bits) {
      this.bits = bits;
      return this;
    }

    public Builder groupSize(long groupSize) {
      this.groupSize = groupSize;
      return this;
    }

    public Builder sym(boolean sym) {
      this.sym = sym;
      return this;
    }

    public Builder descAct(boolean descAct) {
      this.descAct = descAct;
      return this;
    }

    public Builder lmHead(boolean lmHead) {
      this.lmHead = lmHead;
      return this;
    }

    public Builder method(Method method) {
      this.method = method;
      return this;
    }

    /**
     * Left out: {@code gptq}, or {@code gptq_v2} for asymmetric weights; awq of 4 bits: {@code
     * gemm}; smoothquant of 8 bits and whole rows: {@code int-quantized}; qqq: {@code qqq}.
     */
    public Builder format(Format format) {
      this.format = format;
      return this;
    }

    public Builder dynamic(DynamicOverrides dynamic) {
      this.dynamic = dynamic;
      return this;
    }

    /**
     * What methods gptq, gptaq and qqq are told beyond the rest; left out, {@link GptqConfig#of}.
     */
    public Builder gptq(GptqConfig gptq) {
      this.gptq = Optional.of(gptq);
      return this;
    }

    /**
     * The rank of the adapters that EoRA makes, which give back a part of what quantizing takes; 16
     * to 128 as a rule. Needs calibration.
     */
    public Builder adapterRank(int rank) {
      this.adapterRank = rank;
      return this;
    }

    /** Whether method qqq scales large activations down first; it does as a rule. */
    public Builder smooth(boolean smooth) {
      this.smooth = smooth;
      return this;
    }

    /** How much smoothing moves into weights; 0.5 as a rule. */
    public Builder alpha(double alpha) {
      this.alpha = alpha;
      return this;
    }

    /** The overrides as the JSON object that a checkpoint would hold. */
    public Builder dynamic(JsonNode object) {
      return dynamic(DynamicOverrides.parse(object, "dynamic"));
    }

    public QuantizeConfig build() {
      Format usual = sym ? Format.GPTQ : Format.GPTQ_V2;
      boolean w8 = bits == 8 && groupSize == -1 && sym;
      usual = method == Method.AWQ && bits == 4 ? Format.GEMM : usual;
      usual = method == Method.SMOOTHQUANT && w8 ? Format.INT_QUANTIZED : usual;
      usual = method == Method.QQQ ? Format.QQQ : usual;
      Format chosen = format != null ? format : usual;
      return new QuantizeConfig(
          bits,
          groupSize,
          sym,
          descAct,
          lmHead,
          method,
          chosen,
          dynamic,
          gptq.orElse(GptqConfig.of(method)),
          adapterRank,
          smooth,
          alpha);
    }
  }
}
