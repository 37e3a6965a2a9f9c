package org.nanomodel.cli;

import java.util.Locale;
import java.util.Map;
import picocli.CommandLine.IDefaultValueProvider;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;

/**
 * {@code NANOMODEL_THREADS} stands for {@code --threads} where that is not given; so with every
 * other flag.
 */
final class EnvironmentTwins implements IDefaultValueProvider {
  private final Map<String, String> environment;

  EnvironmentTwins(Map<String, String> environment) {
    this.environment = environment;
  }

  @Override
  public String defaultValue(ArgSpec arg) {
    if (!(arg instanceof OptionSpec option) || option.usageHelp() || option.versionHelp()) {
      return null;
    }
    String name = option.longestName();
    if (!name.startsWith("--")) {
      return null;
    }
    String twin = "NANOMODEL_" + name.substring(2).toUpperCase(Locale.ROOT).replace('-', '_');
    String value = environment.get(twin);
    return value == null || value.isBlank() ? null : value;
  }
}
