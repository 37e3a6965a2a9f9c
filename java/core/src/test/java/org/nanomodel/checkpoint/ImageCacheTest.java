package org.nanomodel.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Duration;
import java.time.Instant;
import java.time.InstantSource;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.nanomodel.AutoNanoModel;
import org.nanomodel.QuantizeConfig;
import org.nanomodel.generate.GenerateOptions;
import org.nanomodel.model.CausalModel;
import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;
import org.nanomodel.safetensors.TensorInfo;

class ImageCacheTest {
  private static final InstantSource LATER =
      InstantSource.offset(InstantSource.system(), Duration.ofHours(1));

  @TempDir Path temp;
  private Path model;
  private Path cache;
  private Engine engine;

  @BeforeEach
  void open() throws IOException {
    model = new TinyModel(64, 96, 2, false).write(temp.resolve("model"));
    cache = temp.resolve("cache");
    engine = Engine.open(EngineOptions.defaults().withThreads(1));
  }

  @AfterEach
  void close() {
    engine.close();
  }

  @Test
  void aSecondLoadHasTheSameImagesAndReadsNoLinear() throws IOException {
    List<String> packed = load(LATER);
    Path file = onlyFile();
    FileTime written = FileTime.from(Instant.EPOCH);
    Files.setLastModifiedTime(file, written);
    assertThat(load(LATER)).isEqualTo(packed);
    assertThat(Files.getLastModifiedTime(file)).isEqualTo(written);

    try (var directory = ModelDirectory.open(model, engine);
        var images = ImageFile.open(file);
        var arena = Arena.ofShared()) {
      for (var linear : linearsOf(directory)) {
        assertThat(images.map(arena, List.of(linear.split("\\+")))).as(linear).isPresent();
      }
    }
  }

  private List<String> linearsOf(ModelDirectory directory) {
    try (var graph = CausalModel.load(engine, directory.config(), directory)) {
      return graph.linears().stream().map(linear -> linear.name()).toList();
    }
  }

  @Test
  void aModelAnswersFromItsImagesAsWithoutThem() {
    var plain = EngineOptions.defaults().withThreads(1);
    var cached = plain.withImageCache(cache);
    Path quantized = temp.resolve("quantized");
    var config = QuantizeConfig.builder().bits(4).groupSize(32).build();
    try (var source = AutoNanoModel.load(model, config, plain)) {
      source.quantize();
      source.save(quantized);
    }
    for (Path path : List.of(model, quantized)) {
      List<Integer> expected = answer(path, plain);
      assertThat(answer(path, cached)).isEqualTo(expected);
      assertThat(answer(path, cached)).isEqualTo(expected);
    }
    assertThat(files()).hasSize(2);
  }

  private static List<Integer> answer(Path path, EngineOptions options) {
    try (var opened = AutoNanoModel.load(path, options)) {
      var limit = GenerateOptions.builder().maxTokens(20).ignoreEnd(true).build();
      return opened.generate(new int[] {3, 4, 5}, limit).ids();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "empty",
        "cut by one",
        "cut to its head",
        "longer",
        "head",
        "index",
        "first image",
        "last image",
        "a folder"
      })
  void aDamagedFileIsReplaced(String damage) throws IOException {
    List<String> packed = load(LATER);
    Path file = onlyFile();
    byte[] whole = Files.readAllBytes(file);
    damage(file, damage);
    assertThatThrownBy(() -> ImageFile.open(file)).isInstanceOf(IOException.class);

    assertThat(load(LATER)).isEqualTo(packed);
    if (!damage.equals("a folder")) { // that is not ours to remove
      assertThat(Files.readAllBytes(file)).isEqualTo(whole);
    }
  }

  private static void damage(Path file, String damage) throws IOException {
    if (damage.equals("a folder")) {
      Files.delete(file);
      Files.createDirectories(file.resolve("inside"));
      return;
    }
    try (var bytes = new RandomAccessFile(file.toFile(), "rw")) {
      long size = bytes.length();
      switch (damage) {
        case "empty" -> bytes.setLength(0);
        case "cut by one" -> bytes.setLength(size - 1);
        case "cut to its head" -> bytes.setLength(16);
        case "longer" -> bytes.setLength(size + 1);
        case "head" -> flip(bytes, 9);
        case "index" -> flip(bytes, 40);
        case "first image" -> flip(bytes, 4096 + 200);
        default -> flip(bytes, size - 4096 + 10);
      }
    }
  }

  private static void flip(RandomAccessFile file, long at) throws IOException {
    file.seek(at);
    int old = file.read();
    file.seek(at);
    file.write(old ^ 16);
  }

  @Test
  void anotherModelUnderTheSameNameHasImagesOfItsOwn() throws IOException {
    List<String> before = load(LATER);
    Path weights = model.resolve("model.safetensors");
    FileTime time = Files.getLastModifiedTime(weights);
    long end = Files.size(weights);
    long head;
    try (var directory = ModelDirectory.open(model, engine)) {
      long data = directory.tensors().stream().mapToLong(TensorInfo::byteSize).sum();
      head = end - data + directory.find("lm_head.weight").orElseThrow().begin();
    }
    try (var file = new RandomAccessFile(weights.toFile(), "rw")) {
      flip(file, head); // in place, with size and time of modification as before
    }
    Files.setLastModifiedTime(weights, time);
    assertThat(load(LATER)).isNotEqualTo(before);
    assertThat(files()).hasSize(2);
  }

  @Test
  void aCopyOfTheModelFindsTheImages() throws IOException {
    List<String> packed = load(LATER);
    Path copy = Files.createDirectories(temp.resolve("copy"));
    for (String name : List.of("config.json", "model.safetensors")) {
      Files.copy(model.resolve(name), copy.resolve(name));
    }
    model = copy;
    assertThat(load(LATER)).isEqualTo(packed);
    assertThat(files()).hasSize(1);
  }

  @Test
  void hashesAreRememberedUntilAFileChanges() throws IOException {
    var memory = temp.resolve("hashes");
    Path file = Files.writeString(temp.resolve("file"), "one");
    String one = new FileHashes(memory, InstantSource.system()).sha256(file);
    assertThat(memory).as("changed a moment ago: not settled").doesNotExist();

    var hashes = new FileHashes(memory, LATER);
    assertThat(hashes.sha256(file)).isEqualTo(one);
    Path known = only(memory);
    String text = Files.readString(known);
    String forged = text.substring(0, text.length() - 64) + "f".repeat(64);
    Files.writeString(known, forged); // what is remembered is what is given
    assertThat(hashes.sha256(file)).isEqualTo("f".repeat(64));

    Files.writeString(file, "two");
    assertThat(hashes.sha256(file)).isEqualTo(DurableFiles.sha256(file)).isNotEqualTo(one);
    Files.writeString(known, "damaged");
    assertThat(hashes.sha256(file)).isEqualTo(DurableFiles.sha256(file));
  }

  @Test
  void manyMayWriteAtOnce() throws Exception {
    int writers = 4;
    var together = new CyclicBarrier(writers);
    try (var threads = Executors.newFixedThreadPool(writers)) {
      var loads =
          IntStream.range(0, writers)
              .mapToObj(i ->
                  threads.submit(() -> {
                    together.await();
                    return load(LATER);
                  }))
              .toList();
      List<String> first = loads.getFirst().get();
      for (var load : loads) {
        assertThat(load.get()).isEqualTo(first);
      }
    }
    onlyFile();
  }

  @Test
  void aReplacedFileStaysWholeForWhoeverMappedIt() throws IOException {
    load(LATER);
    Path file = onlyFile();
    try (var directory = ModelDirectory.open(model, engine);
        var graph = known(directory, LATER)) {
      List<String> before = hashes(graph);
      Files.delete(file);
      load(LATER); // another file under the name
      assertThat(file).exists();
      assertThat(hashes(graph)).isEqualTo(before);
    }
  }

  @Test
  void aFolderThatCannotBeWrittenToIsNoHindrance() throws IOException {
    Files.writeString(cache, "a file where a folder should be");
    assertThat(load(LATER)).isNotEmpty();
  }

  @Test
  void whatAKilledProcessLeftGoesWithTime() throws IOException {
    Files.createDirectories(cache);
    Path young = Files.writeString(cache.resolve("a.images.tmp-1-00000000"), "part");
    Path old = Files.writeString(cache.resolve("b.images.tmp-2-00000000"), "part");
    Path other = Files.writeString(cache.resolve("notes.tmp-3"), "not ours");
    var longAgo = FileTime.from(Instant.now().minus(Duration.ofDays(30)));
    Files.setLastModifiedTime(old, longAgo);
    Files.setLastModifiedTime(other, longAgo);
    load(LATER);
    assertThat(young).exists();
    assertThat(other).exists();
    assertThat(old).doesNotExist();
  }

  /** The images of a load through the cache. */
  private List<String> load(InstantSource clock) {
    try (var directory = ModelDirectory.open(model, engine);
        var graph = known(directory, clock)) {
      return hashes(graph);
    }
  }

  private CausalModel known(ModelDirectory directory, InstantSource clock) {
    return ImageCache.of(cache, engine, clock)
        .load(directory, w -> CausalModel.load(engine, directory.config(), w));
  }

  /** Hashes of the images. */
  private static List<String> hashes(CausalModel graph) {
    return graph.linears().stream()
        .map(linear -> {
          var digest = DurableFiles.sha256();
          DurableFiles.update(digest, linear.packed().data());
          return DurableFiles.hex(digest);
        })
        .toList();
  }

  private Path onlyFile() {
    assertThat(files()).hasSize(1);
    return files().getFirst();
  }

  /** All that lies in the cache beside the hashes. */
  private List<Path> files() {
    try (var all = Files.list(cache)) {
      return all.filter(file -> !file.endsWith("hashes")).toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static Path only(Path folder) throws IOException {
    try (var all = Files.list(folder)) {
      return all.toList().getFirst();
    }
  }
}
