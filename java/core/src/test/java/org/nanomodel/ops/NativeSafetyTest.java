package org.nanomodel.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.UnaryOperator;
import org.assertj.core.api.SoftAssertions;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.nanomodel.NativeException;
import org.nanomodel.ops.OpCalls.Argument;
import org.nanomodel.ops.OpCalls.Call;
import org.nanomodel.tensor.DataType;
import org.nanomodel.tensor.Tensor;

/**
 * RELIABILITY 4 through Java: each argument of each op is missing, closed, on the heap, misaligned,
 * another thread's, read-only, of another type or shape, or out of range. Each gives one typed
 * exception that names it, and the next good call, of another thread, works.
 */
@Timeout(120)
class NativeSafetyTest {
  private static final Engine ENGINE = Engine.open(EngineOptions.defaults().withThreads(2));
  private static final Arena MEMORY = Arena.ofAuto();
  private static final List<Call> CALLS = OpCalls.all(ENGINE);
  private static final ExecutorService OTHER = Executors.newFixedThreadPool(4);

  private record Fault(String name, Object value) {}

  @AfterAll
  static void close() {
    OTHER.shutdownNow();
    ENGINE.close();
  }

  static List<Call> calls() {
    return CALLS;
  }

  @Test
  void everyOpHasARow() {
    assertThat(CALLS.stream().map(c -> c.method() + "/" + c.arguments().apply(MEMORY).size()))
        .as("methods of Ops and rows of OpCalls")
        .containsExactlyInAnyOrderElementsOf(
            Arrays.stream(Ops.class.getMethods())
                .filter(m -> !m.getName().equals("engine"))
                .map(m -> m.getName() + "/" + m.getParameterCount())
                .toList());
  }

  @ParameterizedTest
  @MethodSource("calls")
  void eachFaultOfEachArgumentIsRefusedByName(Call call) throws Exception {
    var softly = new SoftAssertions();
    for (int i = 0; i < call.arguments().apply(MEMORY).size(); i++) {
      for (Fault fault : faults(call, i)) {
        List<Argument> arguments = call.arguments().apply(MEMORY);
        String what = call + ", " + arguments.get(i).name() + " " + fault.name();
        String names =
            fault.name().contains("shape")
                ? String.join("|", arguments.stream().map(Argument::name).toList())
                : arguments.get(i).name();
        Object[] values = values(arguments);
        values[i] = fault.value();
        Throwable refusal = catchThrowable(() -> invoke(ENGINE.ops(), call.method(), values));
        softly
            .assertThat(refusal)
            .as(what)
            .isInstanceOfAny(
                NullPointerException.class,
                IllegalArgumentException.class,
                IllegalStateException.class,
                WrongThreadException.class,
                NativeException.class)
            .hasMessageMatching("(?is).*(?<![a-z])(" + names + ")(?![a-z]).*");
        assertThat(onOther(() -> good(call, ENGINE.ops()))).as("after " + what).isNotEmpty();
      }
    }
    softly.assertAll();
  }

  private static List<Fault> faults(Call call, int i) throws Exception {
    Argument a = call.arguments().apply(MEMORY).get(i);
    var out = new ArrayList<Fault>();
    a.wrong().forEach(w -> out.add(new Fault("out of range or shape", w)));
    if (!a.optional() && !(a.good() instanceof Number) && !(a.good() instanceof Boolean)) {
      out.add(new Fault("missing", null));
    }
    if (a.good() instanceof Linear w) {
      Linear gone = w.withWeight(new FloatWeight(DataType.F32, w.n(), w.k(), zeros(w)));
      gone.close();
      out.add(new Fault("closed", gone));
    }
    if (!OpCalls.segments(a.good()).isEmpty()) {
      try (var arena = Arena.ofConfined()) {
        out.add(new Fault("closed", call.arguments().apply(arena).get(i).good()));
      }
      out.add(
          new Fault(
              "of another thread",
              onOther(() -> call.arguments().apply(Arena.ofConfined()).get(i).good())));
    }
    if (a.good() instanceof Tensor t) {
      out.add(new Fault("of another type", Tensor.allocate(MEMORY, other(t.type()), t.shape())));
      if (!a.free().equals("columns")) {
        out.add(new Fault("of fewer columns (shape)", t.columns(0, t.cols() - 1)));
      }
      if (!a.free().equals("rows")) {
        out.add(new Fault("of fewer rows (shape)", t.rows(0, t.rows() - 1)));
      }
    }
    memories(a).forEach((name, memory) -> out.add(new Fault(name, over(a.good(), memory))));
    return out;
  }

  /** What the memory of an argument may be that is wrong. */
  private static Map<String, UnaryOperator<MemorySegment>> memories(Argument a) {
    var out = new LinkedHashMap<String, UnaryOperator<MemorySegment>>();
    if (a.good() instanceof Tensor || a.good() instanceof QuantizedWeight) {
      out.put("on the heap", s -> MemorySegment.ofArray(new byte[(int) s.byteSize()]));
      if (a.written()) {
        out.put("read-only", MemorySegment::asReadOnly);
      }
      if (!(a.good() instanceof Tensor t) || t.type().bytes() > 1) {
        out.put("misaligned", s -> MEMORY.allocate(s.byteSize() + 64, 64).asSlice(1, s.byteSize()));
      }
    }
    return out;
  }

  private static Object over(Object good, UnaryOperator<MemorySegment> memory) {
    return switch (good) {
      case Tensor t -> Tensor.of(t.type(), memory.apply(t.segment()), t.shape());
      case QuantizedWeight q ->
          new QuantizedWeight(
              q.bits(),
              q.n(),
              q.k(),
              q.groupSize(),
              q.codes(),
              memory.apply(q.scales()),
              q.zeros(),
              null);
      default -> throw new AssertionError(good);
    };
  }

  private static DataType other(DataType type) {
    return type == DataType.I32 ? DataType.F32 : DataType.I32;
  }

  private static MemorySegment zeros(Linear w) {
    return MEMORY.allocate(4 * w.n() * w.k(), 64);
  }

  @ParameterizedTest
  @MethodSource("calls")
  void aClosedEngineRefusesEachOp(Call call) throws Exception {
    Engine engine = Engine.open(EngineOptions.defaults().withThreads(1));
    Ops ops = engine.ops();
    good(call, ops);
    engine.close();
    assertThatThrownBy(() -> good(call, ops))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the engine is closed");
  }

  @Test
  void callsFromSeveralThreadsGiveTheSameBytesAsAlone() throws Exception {
    var alone = new ArrayList<List<byte[]>>();
    for (Call call : CALLS) {
      alone.add(good(call, ENGINE.ops()));
    }
    var tasks = new ArrayList<Future<?>>();
    for (int thread = 0; thread < 4; thread++) {
      tasks.add(
          OTHER.submit(() -> {
            for (int round = 0; round < 2; round++) {
              for (int i = 0; i < CALLS.size(); i++) {
                assertThat(good(CALLS.get(i), ENGINE.ops()))
                    .as(CALLS.get(i).method())
                    .usingRecursiveComparison()
                    .isEqualTo(alone.get(i));
              }
            }
            return null;
          }));
    }
    for (Future<?> task : tasks) {
      task.get();
    }
  }

  @Test
  void shapesThatOverflowAreRefusedBeforeThereIsATensor() {
    for (long[] shape :
        List.of(
            new long[] {1L << 62, 4},
            new long[] {-1, 4},
            new long[] {4, Long.MIN_VALUE},
            new long[] {Long.MAX_VALUE, Long.MAX_VALUE})) {
      assertThatThrownBy(() -> Tensor.of(DataType.F32, MEMORY.allocate(64), shape))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining(Arrays.toString(shape));
    }
    assertThatThrownBy(() -> QuantizedWeight.allocate(MEMORY, 4, 1L << 40, 1L << 40, 32, null))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("1099511627776");
  }

  @Test
  void aWeightWithoutItsMemoryIsNotPacked() throws Exception {
    FloatWeight gone;
    try (var arena = Arena.ofConfined()) {
      gone = new FloatWeight(DataType.F32, 4, 8, arena.allocate(128, 64));
    }
    MemorySegment heap = MemorySegment.ofArray(new byte[128]);
    var foreign =
        new FloatWeight(DataType.F32, 4, 8, onOther(() -> Arena.ofConfined().allocate(128, 64)));
    for (FloatWeight wrong : List.of(gone, new FloatWeight(DataType.F32, 4, 8, heap), foreign)) {
      assertThatThrownBy(() -> Linear.pack(ENGINE, "w", wrong, null))
          .isInstanceOfAny(
              IllegalStateException.class,
              IllegalArgumentException.class,
              WrongThreadException.class)
          .hasMessageContaining("data");
    }
  }

  private static List<byte[]> good(Call call, Ops ops) throws Exception {
    List<Argument> arguments = call.arguments().apply(MEMORY);
    invoke(ops, call.method(), values(arguments));
    return OpCalls.written(arguments);
  }

  private static Object[] values(List<Argument> arguments) {
    return arguments.stream().map(Argument::good).toArray();
  }

  private static <T> T onOther(Callable<T> task) throws Exception {
    return OTHER.submit(task).get(20, TimeUnit.SECONDS);
  }

  private static void invoke(Ops ops, String method, Object[] values) throws Exception {
    Method found =
        Arrays.stream(Ops.class.getMethods())
            .filter(m -> m.getName().equals(method) && m.getParameterCount() == values.length)
            .findFirst()
            .orElseThrow();
    try {
      found.invoke(ops, values);
    } catch (InvocationTargetException e) {
      if (e.getCause() instanceof Exception cause) {
        throw cause;
      }
      throw e;
    }
  }
}
