package org.nanomodel.events;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.checkpoint.TinyModel;
import org.nanomodel.generate.GenerateOptions;

/** What a flight recording holds after a load, a generation and a quantization. */
class EventsTest {
  private static final int[] PROMPT = {3, 14, 15, 9, 26};

  @TempDir Path temp;

  @Test
  void aRecordingTellsWhatTheModelDid() throws IOException {
    Path directory = new TinyModel(64, 96, 2, false).write(temp.resolve("model"));
    List<RecordedEvent> events;
    long bytes;
    try (var recording = new Recording()) {
      recording.start();
      try (var model =
          AutoNanoModel.load(directory, QuantizeConfig.builder().groupSize(32).build())) {
        model.generate(PROMPT, GenerateOptions.builder().maxTokens(4).ignoreEnd(true).build());
        bytes = model.graph().bytes();
        model.quantize();
      }
      recording.stop();
      recording.dump(temp.resolve("run.jfr"));
      events = RecordingFile.readAllEvents(temp.resolve("run.jfr"));
    }
    var load = only(events, "Load");
    assertThat(load.getString("model")).isEqualTo(directory.toString());
    assertThat(load.getInt("layers")).isEqualTo(2);
    assertThat(load.getLong("bytes")).isEqualTo(bytes);
    assertThat(load.getString("device")).isEqualTo("cpu");
    assertThat(load.getString("tier")).isNotEmpty();
    assertThat(load.getInt("threads")).isPositive();

    var prefill = only(events, "Prefill");
    assertThat(prefill.getInt("promptTokens")).isEqualTo(PROMPT.length);

    var steps = named(events, "Step");
    assertThat(steps).extracting(e -> e.getInt("tokens")).containsExactly(5, 1, 1, 1);
    assertThat(steps).allMatch(e -> e.getInt("sequences") == 1 && e.getInt("rows") == 1);
    assertThat(steps.getFirst().getStartTime())
        .isBetween(prefill.getStartTime(), prefill.getEndTime());
    assertThat(steps).allMatch(e -> e.getDuration().isPositive());

    var layers = named(events, "QuantizeLayer");
    assertThat(layers).extracting(e -> e.getInt("layer")).containsExactly(0, 1);
    assertThat(layers).allMatch(e -> e.getInt("modules") == 7);
    assertThat(layers).allMatch(e -> e.getLong("weights") == 3 * 64 * 64 + 3 * 64 * 96);
    assertThat(layers).allMatch(e -> e.getDouble("loss") > 0 && e.getDouble("loss") < 0.5);
  }

  private static List<RecordedEvent> named(List<RecordedEvent> events, String name) {
    return events.stream()
        .filter(e -> e.getEventType().getName().equals("org.nanomodel." + name))
        .sorted(java.util.Comparator.comparing(RecordedEvent::getStartTime))
        .toList();
  }

  private static RecordedEvent only(List<RecordedEvent> events, String name) {
    assertThat(named(events, name)).hasSize(1);
    return named(events, name).getFirst();
  }
}
