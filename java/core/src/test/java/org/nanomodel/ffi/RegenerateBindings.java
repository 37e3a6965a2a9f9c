package org.nanomodel.ffi;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Writes {@code org.nanomodel.ffi.generated} anew from csrc/include/nanomodel.h. From the
 * repository root, with any JDK from 17 on:
 *
 * <pre>java java/core/src/test/java/org/nanomodel/ffi/RegenerateBindings.java</pre>
 *
 * or {@code ./mvnw -N -Pjextract generate-sources}. It needs jextract in JEXTRACT_HOME/bin or on
 * the PATH. jextract's {@code --dump-includes} lists every symbol the header sees; ours are kept in
 * java/core/jextract.args, so that no struct of the system comes along. One thing in the output is
 * replaced: the lookup, which jextract can only take from the class loader or from a library name,
 * becomes that of {@link NativeLibrary}. A fingerprint beside the bindings lets a test see that
 * header, arguments and bindings belong together; the list of all fields in
 * tests/native/abi_layout.inc lets the C++ compiler say where they lie, for another test to
 * compare.
 */
public final class RegenerateBindings {

  static final String HEADER = "csrc/include/nanomodel.h";
  static final String ARGS = "java/core/jextract.args";
  static final String JAVA = "java/core/src/main/java";
  static final String GENERATED = JAVA + "/org/nanomodel/ffi/generated";
  static final String FINGERPRINT = GENERATED + "/bindings.sha256";
  static final String LAYOUT = "tests/native/abi_layout.inc";

  private static final Pattern LAYOUT_BLOCK =
      Pattern.compile(
          "(?s)\\$LAYOUT = MemoryLayout\\.structLayout\\((.*?)\\n {4}\\)\\.withName\\(\"(\\w+)\"\\);");
  private static final Pattern NAME = Pattern.compile("\\.withName\\(\"(\\w+)\"\\)");

  private static final String OPTIONS =
      """
      # Arguments of jextract, written by RegenerateBindings: the options, then every symbol of nanomodel.h.
      --target-package org.nanomodel.ffi.generated
      --header-class-name NanoModelH
      """;
  private static final String LOOKUP =
      """
          static final SymbolLookup SYMBOL_LOOKUP = SymbolLookup.loaderLookup()
                  .or(Linker.nativeLinker().defaultLookup());
      """;
  private static final String OUR_LOOKUP =
      """
          static final org.nanomodel.ffi.Symbols SYMBOL_LOOKUP = org.nanomodel.ffi.NativeLibrary.lookup()::find;
      """;

  private RegenerateBindings() {}

  public static void main(String[] args) throws IOException, InterruptedException {
    Path root = root();
    Path jextract = jextract();
    if (jextract == null) {
      System.err.println(
          "jextract was not found in JEXTRACT_HOME/bin or on the PATH. It is needed only when"
              + " csrc/include/nanomodel.h changes; early-access builds are at https://jdk.java.net/jextract/");
      System.exit(1);
    }
    Path work = Files.createTempDirectory("jextract");
    try {
      Path dump = work.resolve("includes");
      run(jextract, "--dump-includes", dump.toString(), root.resolve(HEADER).toString());
      Files.writeString(root.resolve(ARGS), OPTIONS + String.join("\n", ourSymbols(dump)) + "\n");
      Path out = work.resolve("java");
      run(
          jextract,
          "--output",
          out.toString(),
          "@" + root.resolve(ARGS),
          root.resolve(HEADER).toString());
      replaceBindings(out.resolve("org/nanomodel/ffi/generated"), root.resolve(GENERATED));
      Files.writeString(root.resolve(LAYOUT), layout(root.resolve(GENERATED)));
      Files.writeString(root.resolve(FINGERPRINT), fingerprint(root));
    } finally {
      deleteTree(work);
    }
  }

  /**
   * Three lines "hash name": the header's declarations (without comments and white space, so that
   * rewording a comment does not ask for jextract), the arguments, and all generated files
   * together.
   */
  static String fingerprint(Path root) throws IOException {
    String declarations =
        Files.readString(root.resolve(HEADER))
            .replaceAll("(?s)/\\*.*?\\*/", " ")
            .replaceAll("\\s+", " ");
    StringBuilder bindings = new StringBuilder();
    for (Path file : javaFiles(root.resolve(GENERATED))) {
      bindings.append(file.getFileName()).append('\n').append(Files.readString(file));
    }
    return sha256(declarations)
        + " header\n"
        + sha256(Files.readString(root.resolve(ARGS)))
        + " arguments\n"
        + sha256(bindings.toString())
        + " bindings\n";
  }

  /**
   * Every struct and field of the bindings, as macros that tests/native/abi_layout_test.cc gives a
   * meaning.
   */
  private static String layout(Path generated) throws IOException {
    StringBuilder text =
        new StringBuilder("// Written by RegenerateBindings from the generated bindings.\n");
    for (Path file : javaFiles(generated)) {
      Matcher layout = LAYOUT_BLOCK.matcher(Files.readString(file));
      if (!layout.find()) {
        continue;
      }
      String struct = layout.group(2);
      text.append("NM_STRUCT(").append(struct).append(")\n");
      Matcher field = NAME.matcher(layout.group(1));
      while (field.find()) {
        text.append("NM_FIELD(").append(struct).append(", ").append(field.group(1)).append(")\n");
      }
    }
    return text.toString();
  }

  /** The directory that holds csrc and pom.xml, at or above the working directory. */
  static Path root() {
    for (Path p = Path.of("").toAbsolutePath(); p != null; p = p.getParent()) {
      if (Files.exists(p.resolve(HEADER)) && Files.exists(p.resolve("pom.xml"))) {
        return p;
      }
    }
    throw new IllegalStateException(
        "no " + HEADER + " at or above " + Path.of("").toAbsolutePath());
  }

  private static Path jextract() {
    List<String> places = new ArrayList<>();
    String home = System.getenv("JEXTRACT_HOME");
    if (home != null && !home.isBlank()) {
      places.add(home + "/bin");
    }
    places.addAll(List.of(System.getenv().getOrDefault("PATH", "").split(File.pathSeparator)));
    return places.stream()
        .flatMap(p -> Stream.of(Path.of(p, "jextract"), Path.of(p, "jextract.bat")))
        .filter(Files::isExecutable)
        .findFirst()
        .orElse(null);
  }

  private static List<String> ourSymbols(Path dump) throws IOException {
    try (Stream<String> lines = Files.lines(dump)) {
      return lines
          .map(line -> line.replaceFirst("\\s*#.*", ""))
          .filter(line -> line.matches("--include-(constant NM_|(function|struct) nm_)\\w+"))
          .filter(line -> !line.equals("--include-constant NM_API"))
          .sorted()
          .toList();
    }
  }

  private static void replaceBindings(Path from, Path to) throws IOException {
    Files.createDirectories(to);
    for (Path old : javaFiles(to)) {
      Files.delete(old);
    }
    for (Path file : javaFiles(from)) {
      String text = Files.readString(file).replace("\r\n", "\n");
      if (file.endsWith("NanoModelH.java")) {
        if (!text.contains(LOOKUP)) {
          throw new IllegalStateException(
              "this jextract writes SYMBOL_LOOKUP in another way; adapt RegenerateBindings.LOOKUP");
        }
        text = text.replace(LOOKUP, OUR_LOOKUP);
      }
      Files.writeString(to.resolve(file.getFileName()), text);
    }
  }

  private static List<Path> javaFiles(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.filter(f -> f.toString().endsWith(".java")).sorted().toList();
    }
  }

  private static void run(Path program, String... args) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(program.toString()));
    command.addAll(List.of(args));
    int code = new ProcessBuilder(command).inheritIO().start().waitFor();
    if (code != 0) {
      throw new IllegalStateException("exit code " + code + " of " + String.join(" ", command));
    }
  }

  private static String sha256(String text) {
    try {
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void deleteTree(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      for (Path file : files.sorted((a, b) -> b.compareTo(a)).toList()) {
        Files.delete(file);
      }
    }
  }
}
