package org.nanomodel;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;
import java.util.function.Function;
import org.nanomodel.checkpoint.ModuleScheme;
import org.nanomodel.quantize.Gptq;
import org.nanomodel.quantize.GptqOptions;
import org.nanomodel.tensor.DataType;

/**
 * What GPTQ is told beyond the scheme of a module; the names are GPTQModel's. All but {@code
 * trueSequential} may differ from module to module.
 *
 * @param actGroupAware columns by importance within groups, groups by importance; empty = on unless
 *     {@code desc_act} is
 * @param staticGroups scales from the weights before any of them is changed
 * @param dampPercent share of the mean of H's diagonal that is added to it
 * @param dampAutoIncrement what damp grows by while H is not positive definite; 0 = not
 * @param mse exponent of the error that ranges are searched for; 0 = no search
 * @param refreshGroups ranges from weights as updated so far, narrowed to those with the least
 *     loss; false = as the first implementation has them
 * @param gptaqAlpha weight of the term of method gptaq, 0..1
 * @param trueSequential modules see the inputs that the quantized modules before them make, within
 *     a layer too
 */
public record GptqConfig(
    Optional<Boolean> actGroupAware,
    boolean staticGroups,
    double dampPercent,
    double dampAutoIncrement,
    double mse,
    boolean refreshGroups,
    double gptaqAlpha,
    boolean trueSequential) {

  /** Group-aware order, damp .05 growing by .01, refreshed groups, true sequential. */
  public static final GptqConfig DEFAULT =
      new GptqConfig(Optional.empty(), false, .05, .01, 0, true, Gptq.ALPHA, true);

  /** The same, damp .005 growing by .001: what method qqq begins with. */
  public static final GptqConfig QQQ = DEFAULT.withDamp(.005, .001);

  /** What a method begins with. */
  public static GptqConfig of(Method method) {
    return method == Method.QQQ ? QQQ : DEFAULT;
  }

  public GptqConfig {
    if (!(gptaqAlpha >= 0 && gptaqAlpha <= 1)) {
      throw new NanoModelException(
          "gptaq_alpha " + gptaqAlpha + ": expected 0 to 1, " + Gptq.ALPHA + " as a rule");
    }
    new GptqOptions( // checks the numbers
        4,
        -1,
        true,
        false,
        false,
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        DataType.F16,
        false);
  }

  /** All that GPTQ needs for a module of a scheme. */
  public GptqOptions options(ModuleScheme scheme, DataType scaleType) {
    return new GptqOptions(
        scheme.bits(),
        scheme.groupSize(),
        scheme.sym(),
        scheme.descAct(),
        actGroupAware.orElse(!scheme.descAct()),
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        scaleType,
        false);
  }

  public GptqConfig withActGroupAware(boolean value) {
    return new GptqConfig(
        Optional.of(value),
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        gptaqAlpha,
        trueSequential);
  }

  public GptqConfig withStaticGroups(boolean value) {
    return new GptqConfig(
        actGroupAware,
        value,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        gptaqAlpha,
        trueSequential);
  }

  public GptqConfig withDamp(double percent, double autoIncrement) {
    return new GptqConfig(
        actGroupAware,
        staticGroups,
        percent,
        autoIncrement,
        mse,
        refreshGroups,
        gptaqAlpha,
        trueSequential);
  }

  public GptqConfig withMse(double value) {
    return new GptqConfig(
        actGroupAware,
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        value,
        refreshGroups,
        gptaqAlpha,
        trueSequential);
  }

  public GptqConfig withRefreshGroups(boolean value) {
    return new GptqConfig(
        actGroupAware,
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        value,
        gptaqAlpha,
        trueSequential);
  }

  public GptqConfig withGptaqAlpha(double value) {
    return new GptqConfig(
        actGroupAware,
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        value,
        trueSequential);
  }

  public GptqConfig withTrueSequential(boolean value) {
    return new GptqConfig(
        actGroupAware,
        staticGroups,
        dampPercent,
        dampAutoIncrement,
        mse,
        refreshGroups,
        gptaqAlpha,
        value);
  }

  /** With what a module's overrides name; {@code where} is for errors. */
  public GptqConfig with(JsonNode overrides, String where) {
    var o = new Overrides(overrides, where);
    return new GptqConfig(
        o.bool("act_group_aware").or(() -> actGroupAware),
        o.bool("static_groups").orElse(staticGroups),
        o.number("damp_percent").orElse(dampPercent),
        o.number("damp_auto_increment").orElse(dampAutoIncrement),
        o.number("mse").orElse(mse),
        o.bool("refresh_groups").orElse(refreshGroups),
        o.number("gptaq_alpha").orElse(gptaqAlpha),
        trueSequential);
  }

  private record Overrides(JsonNode node, String where) {
    Optional<Boolean> bool(String name) {
      return read(name, JsonNode::isBoolean, JsonNode::booleanValue, "true or false");
    }

    Optional<Double> number(String name) {
      return read(name, JsonNode::isNumber, JsonNode::doubleValue, "a number");
    }

    private <T> Optional<T> read(
        String name, Function<JsonNode, Boolean> fits, Function<JsonNode, T> value, String what) {
      if (!node.hasNonNull(name)) {
        return Optional.empty();
      }
      if (!fits.apply(node.get(name))) {
        throw new NanoModelException(
            where + ": " + name + " is " + node.get(name) + ", expected " + what);
      }
      return Optional.of(value.apply(node.get(name)));
    }
  }

  /** Under the ecosystem's keys. */
  void toJson(ObjectNode json, Method method, boolean descAct) {
    json.put("act_group_aware", actGroupAware.orElse(!descAct));
    json.put("static_groups", staticGroups);
    json.put("damp_percent", dampPercent);
    json.put("damp_auto_increment", dampAutoIncrement);
    json.put("mse", mse);
    json.put("refresh_groups", refreshGroups);
    json.put("true_sequential", trueSequential);
    if (method == Method.GPTAQ) {
      json.put("gptaq", true);
      json.put("gptaq_alpha", gptaqAlpha);
    }
  }
}
