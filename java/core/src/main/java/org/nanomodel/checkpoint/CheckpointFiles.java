package org.nanomodel.checkpoint;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** The files of a checkpoint, and their copy under another name. */
public final class CheckpointFiles {
  private static final List<String> RECORDS =
      List.of(
          "model.safetensors.index.json",
          "quantize_config.json",
          "quant_config.json",
          "quant_log.csv",
          "quantize_job.json");

  private CheckpointFiles() {}

  /** Copies a checkpoint as it is; something else in {@code output} is refused. */
  public static void copy(ModelDirectory source, Path output) {
    var target = OutputDirectory.of(output, source);
    target.requireFree();
    List<Path> files = of(source);
    long bytes = 0;
    for (Path file : files) {
      try {
        bytes += Files.size(file);
      } catch (IOException e) {
        throw DurableFiles.failed("read", file, e);
      }
    }
    target.requireSpace(bytes);
    Path staging = target.temporary();
    try {
      Files.createDirectory(staging);
      files.forEach(file -> DurableFiles.copy(file, staging.resolve(file.getFileName())));
      AdapterDirectory.copy(source.path(), staging);
      target.publish(staging);
    } catch (IOException e) {
      throw DurableFiles.failed("create", staging, e);
    } finally {
      DurableFiles.deleteTree(staging);
    }
  }

  /** Weights first, config.json last. */
  private static List<Path> of(ModelDirectory source) {
    var files = new ArrayList<>(source.weightFiles());
    for (String name : RECORDS) {
      Path file = source.path().resolve(name);
      if (Files.isRegularFile(file)) {
        files.add(file);
      }
    }
    files.addAll(CheckpointWriter.sideFiles(source.path()));
    files.add(source.path().resolve("config.json"));
    return files;
  }
}
