package org.nanomodel.quantize;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.nanomodel.BadModelException;
import org.nanomodel.NanoModelException;
import org.nanomodel.checkpoint.DurableFiles;
import org.nanomodel.checkpoint.ModelDirectory;
import org.nanomodel.checkpoint.OutputDirectory;
import org.nanomodel.json.JsonFile;

/**
 * {@code quantize_job.json} in a checkpoint: which job made it and how it went, without paths and
 * times.
 */
record FinishedJob(ObjectNode json) {
  private static final String FILE = "quantize_job.json";

  static void write(Path directory, Fingerprint fingerprint, List<ModuleResult> modules) {
    var json = JsonFile.object();
    json.set("identity", fingerprint.identity());
    var rows = json.putArray("modules");
    for (var module : modules) {
      var row = module.toJson();
      row.remove("seconds");
      rows.add(row);
    }
    DurableFiles.write(
        directory.resolve(FILE), JsonFile.print(json).getBytes(StandardCharsets.UTF_8));
  }

  /** The finished job in an output, if it is this one and the model has not changed since. */
  static Optional<FinishedJob> find(
      OutputDirectory output, ModelDirectory source, Fingerprint fingerprint) {
    return read(output)
        .filter(job -> fingerprint.differenceFromIdentity(job.json.path("identity")).isEmpty())
        .filter(job -> !Fingerprint.changedSince(source, timeOf(output)));
  }

  private static Optional<FinishedJob> read(OutputDirectory output) {
    Path file = output.path().resolve(FILE);
    boolean complete = Files.isRegularFile(output.path().resolve("config.json"));
    if (!complete || !Files.isRegularFile(file)) {
      return Optional.empty();
    }
    try {
      return Optional.of(new FinishedJob(JsonFile.read(file)));
    } catch (BadModelException e) {
      return Optional.empty();
    }
  }

  private static FileTime timeOf(OutputDirectory output) {
    Path file = output.path().resolve(FILE);
    try {
      return Files.getLastModifiedTime(file);
    } catch (IOException e) {
      throw DurableFiles.failed("read", file, e);
    }
  }

  /** Refuses an output where anything else lies; of another job it names what differs. */
  static void refuseOther(OutputDirectory output, Fingerprint fingerprint) {
    var difference =
        read(output).flatMap(j -> fingerprint.differenceFromIdentity(j.json.path("identity")));
    if (difference.isPresent()) {
      throw new NanoModelException(
          "output "
              + output.path()
              + " holds the result of another job: "
              + difference.get()
              + "; choose another directory, or allow it to be overwritten");
    }
    output.requireFree();
  }

  List<ModuleResult> modules() {
    var modules = new ArrayList<ModuleResult>();
    json.path("modules").forEach(module -> modules.add(ModuleResult.of(module)));
    return modules;
  }
}
