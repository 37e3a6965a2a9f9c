package org.nanomodel.ffi;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.foreign.AddressLayout;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.nanomodel.SharedData;
import org.nanomodel.ffi.generated.NanoModelH;

/**
 * What GraalVM's native-image must know of this jar, derived from the generated bindings. After a
 * change of nanomodel.h run this test with {@code -Dnanomodel.regenerate=true}, which writes the
 * file.
 */
class NativeImageMetadataTest {
  private static final String FILE =
      "java/core/src/main/resources/META-INF/native-image/org.nanomodel/nanomodel-core/"
          + "reachability-metadata.json";
  private static final ObjectMapper MAPPER = new ObjectMapper();

  @Test
  void theMetadataHasEveryForeignCallAndWhatIsFoundByName() throws Exception {
    Path file = SharedData.root().resolve(FILE);
    String wanted = metadata().toPrettyString() + "\n";
    if (Boolean.getBoolean("nanomodel.regenerate")) {
      Files.createDirectories(file.getParent());
      Files.writeString(file, wanted);
    }
    assertThat(file).content().isEqualTo(wanted);
  }

  @Test
  void whatTheMetadataNamesIsThere() throws Exception {
    JsonNode metadata = MAPPER.readTree(SharedData.root().resolve(FILE).toFile());
    for (JsonNode entry : metadata.path("reflection")) {
      if (entry.path("type").asText().endsWith("[]")) {
        continue;
      }
      Class<?> type = Class.forName(entry.path("type").asText());
      for (JsonNode method : entry.path("methods")) {
        assertThat(method.path("name").asText()).isEqualTo("<init>");
        assertThat(type.getDeclaredConstructors())
            .anySatisfy(c ->
                assertThat(c.getParameterTypes())
                    .extracting(Class::getName)
                    .containsExactlyElementsOf(names(method)));
      }
    }
    assertThat(metadata.path("resources")).hasSize(1);
    assertThat(metadata.path("resources").get(0).path("glob").asText()).isEqualTo("native/**");
    ClassLoader loader = getClass().getClassLoader();
    assertThat(loader.getResource("native/lib/tokenizers.properties")).isNotNull();
    assertThat(loader.getResource("native/lib/linux-x86_64/cpu/libtokenizers.so")).isNotNull();
  }

  private static List<String> names(JsonNode method) {
    var names = new ArrayList<String>();
    method.path("parameterTypes").forEach(type -> names.add(type.asText()));
    return names;
  }

  private static ObjectNode metadata() throws ReflectiveOperationException {
    ObjectNode root = MAPPER.createObjectNode();
    root.set("reflection", usedByTheTokenizersLibrary());
    root.putArray("resources").add(MAPPER.createObjectNode().put("glob", "native/**"));
    root.putObject("foreign").set("downcalls", downcalls());
    return root;
  }

  /** Java classes that the Rust library asks for by name. */
  private static ArrayNode usedByTheTokenizersLibrary() {
    ArrayNode types = MAPPER.createArrayNode();
    ObjectNode span = types.addObject().put("type", "ai.djl.huggingface.tokenizers.jni.CharSpan");
    span.putArray("methods")
        .addObject()
        .put("name", "<init>")
        .set("parameterTypes", MAPPER.createArrayNode().add("int").add("int"));
    span.put("jniAccessible", true);
    for (String exception :
        List.of(
            "ai.djl.engine.EngineException",
            "java.lang.RuntimeException",
            "java.lang.UnsupportedOperationException")) {
      ObjectNode type = types.addObject().put("type", exception);
      type.putArray("methods")
          .addObject()
          .put("name", "<init>")
          .set("parameterTypes", MAPPER.createArrayNode().add("java.lang.String"));
      type.put("jniAccessible", true);
    }
    types.addObject().put("type", "java.lang.String[]").put("jniAccessible", true);
    return types;
  }

  /** One entry a signature. */
  private static ArrayNode downcalls() throws ReflectiveOperationException {
    var descriptors = new ArrayList<FunctionDescriptor>();
    for (Method method : NanoModelH.class.getDeclaredMethods()) {
      if (method.getName().endsWith("$descriptor")) {
        descriptors.add((FunctionDescriptor) method.invoke(null));
      }
    }
    for (Field field : NativeLibrary.class.getDeclaredFields()) {
      if (field.getType() == FunctionDescriptor.class) {
        descriptors.add((FunctionDescriptor) field.get(null));
      }
    }
    descriptors.add(PageAdvice.SIGNATURE);
    var signatures = new TreeMap<String, ObjectNode>();
    for (FunctionDescriptor descriptor : descriptors) {
      ObjectNode call = MAPPER.createObjectNode();
      call.put(
          "returnType",
          descriptor.returnLayout().map(NativeImageMetadataTest::name).orElse("void"));
      ArrayNode parameters = call.putArray("parameterTypes");
      descriptor.argumentLayouts().forEach(layout -> parameters.add(name(layout)));
      signatures.put(call.toString(), call);
    }
    return MAPPER.createArrayNode().addAll(signatures.values());
  }

  private static String name(MemoryLayout layout) {
    return switch (layout) {
      case AddressLayout _ -> "void*";
      case ValueLayout value -> "j" + value.carrier().getName();
      default -> throw new IllegalStateException("passed by value: " + layout);
    };
  }
}
