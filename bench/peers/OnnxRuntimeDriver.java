import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * ONNX Runtime's MatMulNBits: 4 bits in blocks of 128; kind accuracy4 lets it round inputs to 8
 * bits, accuracy0 keeps them in float32. The model is a chain of such nodes, written here as
 * protobuf bytes.
 */
final class OnnxRuntimeDriver implements Driver.Peer {
  private static final int BLOCK = 128;
  private static final int FLOAT = 1;
  private static final int UINT8 = 2;

  public static void main(String[] args) throws IOException {
    Driver.serve(new OnnxRuntimeDriver());
  }

  @Override
  public Driver.Pass linear(String kind, int size, int m, int layers, int threads)
      throws Exception {
    byte[] model = model(size, m, layers, kind.equals("accuracy4") ? 4 : 0);
    var environment = OrtEnvironment.getEnvironment();
    var options = new OrtSession.SessionOptions();
    options.setIntraOpNumThreads(threads);
    options.setInterOpNumThreads(1);
    OrtSession session = environment.createSession(model, options);
    FloatBuffer direct =
        ByteBuffer.allocateDirect(4 * m * size).order(ByteOrder.nativeOrder()).asFloatBuffer();
    direct.put(Driver.inputs(m * size)).rewind();
    Map<String, OnnxTensor> x =
        Map.of("x0", OnnxTensor.createTensor(environment, direct, new long[] {m, size}));
    return () -> session.run(x).close();
  }

  // ---- ModelProto: only the fields that a chain of nodes needs, by their numbers in onnx.proto
  // ----

  private static byte[] model(int size, int m, int layers, int accuracy) {
    var graph = new Message();
    for (int i = 0; i < layers; i++) {
      graph.message(1, node(i, size, accuracy));
    }
    graph.text(2, "chain");
    float[] w = Driver.weights(size);
    int blocks = size / BLOCK;
    byte[] codes = new byte[size * size / 2];
    ByteBuffer scales = ByteBuffer.allocate(4 * size * blocks).order(ByteOrder.LITTLE_ENDIAN);
    for (int block = 0; block < size * blocks; block++) {
      float most = 0;
      for (int k = 0; k < BLOCK; k++) {
        most = Math.max(most, Math.abs(w[block * BLOCK + k]));
      }
      float scale = most / 7;
      scales.putFloat(scale);
      for (int k = 0; k < BLOCK; k += 2) {
        int low = 8 + Math.round(w[block * BLOCK + k] / scale);
        int high = 8 + Math.round(w[block * BLOCK + k + 1] / scale);
        codes[(block * BLOCK + k) / 2] = (byte) (low | high << 4);
      }
    }
    for (int i = 0; i < layers; i++) {
      graph.message(5, tensor("w" + i, UINT8, codes, size, blocks, BLOCK / 2));
      graph.message(5, tensor("s" + i, FLOAT, scales.array(), size * blocks));
    }
    graph.message(11, value("x0", m, size));
    graph.message(12, value("x" + layers, m, size));
    var model = new Message().number(1, 10); // IR version
    model.message(8, new Message().text(1, "").number(2, 21));
    model.message(8, new Message().text(1, "com.microsoft").number(2, 1));
    return model.message(7, graph).bytes();
  }

  private static Message node(int i, int size, int accuracy) {
    var node =
        new Message().text(1, "x" + i).text(1, "w" + i).text(1, "s" + i).text(2, "x" + (i + 1));
    node.text(4, "MatMulNBits").text(7, "com.microsoft");
    node.message(5, attribute("K", size)).message(5, attribute("N", size));
    node.message(5, attribute("bits", 4)).message(5, attribute("block_size", BLOCK));
    return node.message(5, attribute("accuracy_level", accuracy));
  }

  private static Message attribute(String name, long value) {
    return new Message().text(1, name).number(3, value).number(20, 2); // INT
  }

  private static Message tensor(String name, int type, byte[] raw, long... shape) {
    var tensor = new Message();
    for (long dim : shape) {
      tensor.number(1, dim);
    }
    return tensor.number(2, type).text(8, name).raw(9, raw);
  }

  private static Message value(String name, int m, int size) {
    var shape =
        new Message()
            .message(1, new Message().number(1, m))
            .message(1, new Message().number(1, size));
    var tensor = new Message().number(1, FLOAT).message(2, shape);
    return new Message().text(1, name).message(2, new Message().message(1, tensor));
  }

  private static final class Message {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Message number(int field, long value) {
      varint((long) field << 3);
      varint(value);
      return this;
    }

    Message raw(int field, byte[] bytes) {
      varint((long) field << 3 | 2);
      varint(bytes.length);
      out.writeBytes(bytes);
      return this;
    }

    Message text(int field, String text) {
      return raw(field, text.getBytes(StandardCharsets.UTF_8));
    }

    Message message(int field, Message message) {
      return raw(field, message.bytes());
    }

    byte[] bytes() {
      return out.toByteArray();
    }

    private void varint(long value) {
      for (; (value & ~0x7fL) != 0; value >>>= 7) {
        out.write((int) (value & 0x7f | 0x80));
      }
      out.write((int) value);
    }
  }
}
