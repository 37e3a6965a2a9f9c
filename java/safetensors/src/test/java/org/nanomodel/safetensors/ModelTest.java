package org.nanomodel.safetensors;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.nanomodel.safetensors.TestFiles.entry;
import static org.nanomodel.safetensors.TestFiles.file;
import static org.nanomodel.safetensors.TestFiles.header;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Folders of shards: written, read, and tampered with. */
class ModelTest {
  private static final String INDEX = "model.safetensors.index.json";
  private static final List<TensorSpec> PLAN =
      IntStream.range(0, 5).mapToObj(i -> new TensorSpec("t" + i, DType.U8, 10)).toList();

  @TempDir Path temp;
  private Path folder;

  @BeforeEach
  void makeFolder() {
    folder = temp.resolve("model");
  }

  private void write(List<TensorSpec> plan, long maxShardBytes, int add) {
    try (var writer = ShardedWriter.create(folder, plan, maxShardBytes)) {
      for (TensorSpec spec : plan.reversed()) {
        byte[] data = new byte[(int) spec.byteSize()];
        Arrays.fill(data, (byte) (spec.name().charAt(1) - '0' + add));
        writer.put(spec.name(), MemorySegment.ofArray(data));
      }
      writer.finish();
    }
  }

  private void assertReads(List<TensorSpec> plan, int files, int add) {
    try (var model = SafetensorsModel.open(folder)) {
      assertThat(model.files()).hasSize(files);
      assertThat(model.tensors())
          .extracting(TensorInfo::name)
          .containsExactlyInAnyOrderElementsOf(plan.stream().map(TensorSpec::name).toList());
      assertThat(model.unlisted()).isEmpty();
      for (TensorSpec spec : plan) {
        assertThat(model.tensor(spec.name()).shape()).isEqualTo(spec.shape());
        assertThat(model.segment(spec.name()).get(ValueLayout.JAVA_BYTE, 0))
            .isEqualTo((byte) (spec.name().charAt(1) - '0' + add));
      }
    }
  }

  private List<String> names() throws IOException {
    try (var files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }

  @ParameterizedTest
  @CsvSource({"1,5", "9,5", "10,5", "19,5", "20,3", "29,3", "30,2", "49,2", "50,1", "1000,1"})
  void shardsHoldNoMoreThanTheyMay(long maxShardBytes, int files) {
    write(PLAN, maxShardBytes, 0);
    assertReads(PLAN, files, 0);
  }

  @Test
  void shardsAndIndexAreNamedAsEverywhere() throws IOException {
    write(PLAN, 20, 0);
    assertThat(names())
        .containsExactly(
            "model-00001-of-00003.safetensors",
            "model-00002-of-00003.safetensors",
            "model-00003-of-00003.safetensors",
            INDEX);
    assertThat(Files.readString(folder.resolve(INDEX)))
        .isEqualTo(
            """
            {
              "metadata": {
                "total_size": 50
              },
              "weight_map": {
                "t0": "model-00001-of-00003.safetensors",
                "t1": "model-00001-of-00003.safetensors",
                "t2": "model-00002-of-00003.safetensors",
                "t3": "model-00002-of-00003.safetensors",
                "t4": "model-00003-of-00003.safetensors"
              }
            }
            """);
  }

  @Test
  void aModelReplacesAnotherOfAnyNumberOfFiles() throws IOException {
    write(PLAN, 20, 0);
    write(PLAN, 20, 1);
    assertReads(PLAN, 3, 1);
    write(PLAN, 100, 2);
    assertReads(PLAN, 1, 2);
    assertThat(names()).contains("model.safetensors").doesNotContain(INDEX);
    write(PLAN, 10, 3);
    assertReads(PLAN, 5, 3);
    assertThat(names()).contains(INDEX).doesNotContain("model.safetensors");
  }

  @Test
  void noTensorsMakeAValidFile() {
    write(List.of(), 10, 0);
    assertReads(List.of(), 1, 0);
  }

  @Test
  void failureLeavesTheOldModelAndNothingElse() throws IOException {
    write(PLAN, 20, 0);
    List<String> before = names();
    try (var writer = ShardedWriter.create(folder, PLAN, 20)) {
      for (int i = 0; i < 4; i++) {
        writer.put("t" + i, MemorySegment.ofArray(new byte[10]));
      }
      Refusal.of(() -> writer.put("t0", MemorySegment.ofArray(new byte[10])))
          .names(folder.resolve("model-00001-of-00003.safetensors"))
          .says("tensor 't0': got a second put");
      Refusal.of(writer::finish)
          .names(folder.resolve("model-00003-of-00003.safetensors"))
          .says("tensor 't4' is missing");
    }
    assertThat(names()).isEqualTo(before);
    assertReads(PLAN, 3, 0);
  }

  @Test
  void wrongPlansAreRefused() {
    Refusal.of(() -> ShardedWriter.create(folder, PLAN, 0)).names(folder).says("maxShardBytes");
    List<TensorSpec> twice = List.of(PLAN.get(0), PLAN.get(1), PLAN.get(0));
    Refusal.of(() -> ShardedWriter.create(folder, twice, 10))
        .names(folder)
        .says("'t0': got planned");
    assertThat(folder).doesNotExist();
  }

  @ParameterizedTest
  @EnumSource
  void afterCloseEverythingIsIllegalState(SafetensorsFile.Mode mode) {
    write(PLAN, 20, 0);
    SafetensorsModel model = SafetensorsModel.open(folder, mode);
    MemorySegment segment = model.segment("t4");
    Refusal.of(() -> model.segment("t5")).names(folder).says("one of the model's 5 tensors");
    model.close();
    model.close();
    assertThatThrownBy(() -> segment.get(ValueLayout.JAVA_BYTE, 0))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> model.segment("t4")).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(model::tensors).isInstanceOf(IllegalStateException.class);
  }

  private void writeIndex(String weightMap) throws IOException {
    Files.writeString(folder.resolve(INDEX), "{\"metadata\":{},\"weight_map\":" + weightMap + "}");
  }

  private void writeShard(String name, String tensor) throws IOException {
    Files.createDirectories(folder);
    TestFiles.write(folder, name, file(header(entry(tensor, "U8", "[4]", "[0,4]")), 4));
  }

  private void refuses(String file, String message) {
    Refusal.of(() -> SafetensorsModel.open(folder)).names(folder.resolve(file)).says(message);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "/etc/passwd",
        "../out.safetensors",
        "sub/../../out.safetensors",
        "..",
        ".",
        "",
        "sub/x.safetensors",
        "..\\\\out.safetensors",
        "C:x.safetensors",
        "a\\nb",
        "a\\u0000b"
      })
  void shardNamesThatArePathsAreRefused(String name) throws IOException {
    writeShard("a.safetensors", "a");
    TestFiles.write(temp, "out.safetensors", file(header(entry("b", "U8", "[4]", "[0,4]")), 4));
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"" + name + "\"}");
    refuses(INDEX, "weight_map of tensor 'b': got '");
  }

  @Test
  void missingShardIsNamed() throws IOException {
    writeShard("a.safetensors", "a");
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
    refuses("b.safetensors", "got no such file");
  }

  @Test
  void linksOutOfTheFolderAreRefused() throws IOException {
    writeShard("a.safetensors", "a");
    byte[] shard = file(header(entry("b", "U8", "[4]", "[0,4]")), 4);
    Path out = TestFiles.write(temp, "out.safetensors", shard);
    Files.createSymbolicLink(folder.resolve("b.safetensors"), out);
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
    refuses("b.safetensors", "symbolic link: got a target outside the folder");

    Files.createSymbolicLink(folder.resolve("model.safetensors"), out);
    refuses("model.safetensors", "symbolic link");
    Files.delete(folder.resolve("model.safetensors"));

    Files.delete(folder.resolve("b.safetensors"));
    TestFiles.write(folder, "real.safetensors", shard);
    Files.createSymbolicLink(folder.resolve("b.safetensors"), Path.of("real.safetensors"));
    try (var model = SafetensorsModel.open(folder)) {
      assertThat(model.tensors()).hasSize(2);
    }
  }

  /** snapshots/revision/model.safetensors is a link to ../../blobs/hash. */
  @Test
  void linksInsideAHuggingFaceCacheAreFollowed() throws IOException {
    Path cache = Files.createDirectories(temp.resolve("models--x--y"));
    TestFiles.write(Files.createDirectories(cache.resolve("blobs")), "0abc", TestFiles.good());
    folder = Files.createDirectories(cache.resolve("snapshots/rev"));
    Path link = folder.resolve("model.safetensors");
    Files.createSymbolicLink(link, Path.of("../../blobs/0abc"));
    try (var model = SafetensorsModel.open(folder)) {
      assertThat(model.tensors()).hasSize(2);
    }
    Files.delete(link);
    TestFiles.write(cache, "other", TestFiles.good());
    Files.createSymbolicLink(link, Path.of("../../other"));
    refuses("model.safetensors", "symbolic link");
  }

  @Test
  void tensorInTwoShardsIsRefused() throws IOException {
    writeShard("a.safetensors", "a");
    TestFiles.write(
        folder,
        "b.safetensors",
        file(header(entry("a", "U8", "[2]", "[0,2]"), entry("b", "U8", "[2]", "[2,4]")), 4));
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
    refuses(INDEX, "tensor 'a': got another one in 'b.safetensors'");
  }

  @Test
  void tensorAbsentFromItsShardIsRefused() throws IOException {
    writeShard("a.safetensors", "a");
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"a.safetensors\"}");
    refuses(INDEX, "tensor 'b': got no such tensor in 'a.safetensors'");
  }

  @Test
  void tensorsTheIndexDoesNotNameAreToldButNotShown() throws IOException {
    writeShard("a.safetensors", "a");
    TestFiles.write(
        folder,
        "b.safetensors",
        file(header(entry("b", "U8", "[2]", "[0,2]"), entry("extra", "U8", "[2]", "[2,4]")), 4));
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
    try (var model = SafetensorsModel.open(folder)) {
      assertThat(model.unlisted()).containsExactly("extra");
      assertThat(model.find("extra")).isEmpty();
      assertThat(model.tensors()).hasSize(2);
    }
  }

  @Test
  void badShardIsNamedAndTheOthersAreClosed() throws IOException {
    writeShard("a.safetensors", "a");
    TestFiles.write(folder, "b.safetensors", new byte[3]);
    writeIndex("{\"a\":\"a.safetensors\",\"b\":\"b.safetensors\"}");
    refuses("b.safetensors", "file length: got 3 bytes");
  }

  @Test
  void malformedIndexesAreRefused() throws IOException {
    writeShard("a.safetensors", "a");
    for (var wrong :
        Map.ofEntries(
                Map.entry("", "index: got null"),
                Map.entry("[]", "index: got START_ARRAY"),
                Map.entry("{", "index: got Unexpected end"),
                Map.entry("{}", "weight_map: got none"),
                Map.entry("{\"weight_map\":{}}", "weight_map: got an empty one"),
                Map.entry("{\"weight_map\":[]}", "weight_map: got START_ARRAY"),
                Map.entry("{\"weight_map\":{\"a\":1}}", "tensor 'a': got VALUE_NUMBER_INT"),
                Map.entry("{\"weight_map\":{\"\":\"a.safetensors\"}}", "tensor name: got ''"),
                Map.entry("{\"weight_map\":{\"a\":\"b\",\"a\":\"b\"}}", "got a second one"),
                Map.entry("{\"weight_map\":{\"a\":\"b\"},\"weight_map\":{}}", "a second one"),
                Map.entry("{\"weight_map\":{\"a\":\"b\"}} x", "index: got Unrecognized"),
                Map.entry("\ufeff{\"weight_map\":{\"a\":\"b\"}}", "byte 0xef at byte 0"),
                Map.entry("{\"x\":" + "[".repeat(100_000), "nesting depth"))
            .entrySet()) {
      Files.writeString(folder.resolve(INDEX), wrong.getKey());
      refuses(INDEX, wrong.getValue());
    }
  }

  @Test
  void folderWithoutModelSaysWhatWasLookedFor() throws IOException {
    Files.createDirectories(folder);
    Refusal.of(() -> SafetensorsModel.open(folder))
        .names(folder)
        .says("expected model.safetensors or model.safetensors.index.json");
  }

  @Test
  void oneFileIsAModelToo() throws IOException {
    Path path = TestFiles.write(temp, "any.safetensors", TestFiles.good());
    try (var model = SafetensorsModel.open(path)) {
      assertThat(model.file("b").path()).isEqualTo(path);
    }
  }
}
