package org.nanomodel.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.GroupLayout;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemoryLayout.PathElement;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.nanomodel.ffi.generated.NanoModelH;

/** Header, bindings and library belong together. */
class BindingsDriftTest {
  private static final String REMEDY =
      "Run java java/core/src/test/java/org/nanomodel/ffi/RegenerateBindings.java (needs jextract)";

  private final Path root = RegenerateBindings.root();

  @Test
  void bindingsWereGeneratedFromThisHeaderAndNotEdited() throws IOException {
    String recorded = Files.readString(root.resolve(RegenerateBindings.FINGERPRINT));
    assertThat(RegenerateBindings.fingerprint(root)).as(REMEDY).isEqualTo(recorded);
  }

  @Test
  void everyStructOfTheBindingsLiesInMemoryAsTheCompiledLibraryHasIt() throws Exception {
    assertThat(layoutsOfBindings()).as(REMEDY).isEqualTo(layoutsOfLibrary());
  }

  @Test
  void everyFunctionOfTheBindingsIsInTheLibrary() throws Exception {
    List<String> functions =
        Files.readAllLines(root.resolve(RegenerateBindings.ARGS)).stream()
            .filter(line -> line.startsWith("--include-function "))
            .map(line -> line.substring("--include-function ".length()))
            .toList();
    assertThat(functions).contains("nm_linear");
    assertThat(functions)
        .allSatisfy(name ->
            assertThat(NanoModelH.class.getMethod(name + "$address").invoke(null))
                .isEqualTo(NativeLibrary.lookup().find(name).orElseThrow()));
  }

  /** "struct" to its size, "struct.field" to "offset size". */
  private TreeMap<String, String> layoutsOfBindings() throws Exception {
    var layouts = new TreeMap<String, String>();
    try (var files = Files.list(root.resolve(RegenerateBindings.GENERATED))) {
      for (Path file :
          files.filter(f -> f.getFileName().toString().matches("nm_\\w+\\.java")).toList()) {
        String struct = file.getFileName().toString().replace(".java", "");
        Class<?> type = Class.forName("org.nanomodel.ffi.generated." + struct);
        var layout = (GroupLayout) type.getMethod("layout").invoke(null);
        layouts.put(struct, Long.toString(layout.byteSize()));
        for (MemoryLayout member : layout.memberLayouts()) {
          member
              .name()
              .ifPresent(field ->
                  layouts.put(
                      struct + "." + field,
                      layout.byteOffset(PathElement.groupElement(field))
                          + " "
                          + member.byteSize()));
        }
      }
    }
    return layouts;
  }

  /**
   * The same, as printed by a program that the library's own compiler built from the library's own
   * header.
   */
  private TreeMap<String, String> layoutsOfLibrary() throws Exception {
    Path program = Path.of(System.getProperty("nanomodel.library.path"), "bin", "abi_layout_test");
    assertThat(program).as("the native tests are built before this one").isExecutable();
    Process process =
        new ProcessBuilder(program.toString(), "--print").redirectErrorStream(true).start();
    var layouts = new TreeMap<String, String>();
    try (var lines = process.inputReader()) {
      lines.lines().map(line -> line.split(" ", 2)).forEach(line -> layouts.put(line[0], line[1]));
    }
    assertThat(process.waitFor()).isZero();
    return layouts;
  }
}
