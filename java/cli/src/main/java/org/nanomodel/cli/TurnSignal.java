package org.nanomodel.cli;

import java.lang.reflect.Proxy;
import org.nanomodel.ops.Cancel;

/**
 * Ctrl-C in a chat: ends the answer under way, and not the chat; where none is under way, or again
 * before it ended, the command.
 *
 * <p>The JDK's own handler of signals is not part of its API, so it is reached by name; where it is
 * not there, Ctrl-C ends the command as it does elsewhere.
 */
final class TurnSignal implements AutoCloseable {
  private final Console console;
  private final Runnable quit;
  private Cancel answer; // null = none under way
  private Object interrupt;
  private Object before;

  /**
   * @param quit ends the command
   */
  TurnSignal(Console console, Runnable quit) {
    this.console = console;
    this.quit = quit;
    try {
      Class<?> signal = Class.forName("sun.misc.Signal");
      Class<?> handler = Class.forName("sun.misc.SignalHandler");
      interrupt = signal.getConstructor(String.class).newInstance("INT");
      Object ours =
          Proxy.newProxyInstance(
              handler.getClassLoader(),
              new Class<?>[] {handler},
              (proxy, method, args) -> {
                if (method.getName().equals("handle")) {
                  onInterrupt();
                }
                return method.getName().equals("hashCode")
                    ? (Object) System.identityHashCode(proxy)
                    : method.getName().equals("equals") ? (Object) (proxy == args[0]) : null;
              });
      before = signal.getMethod("handle", signal, handler).invoke(null, interrupt, ours);
    } catch (ReflectiveOperationException | RuntimeException e) {
      interrupt = null;
    }
  }

  /** An answer begins; its flag is the new one. */
  synchronized Cancel begin() {
    answer = new Cancel();
    return answer;
  }

  /** Whether it was interrupted. */
  synchronized boolean end() {
    boolean raised = answer.isRaised();
    answer = null;
    return raised;
  }

  /** What the signal does; runs on a thread of the JVM. */
  void onInterrupt() {
    synchronized (this) {
      if (answer != null && !answer.isRaised()) {
        answer.raise();
        return;
      }
    }
    console.flush();
    quit.run();
  }

  @Override
  public void close() {
    if (interrupt == null || before == null) {
      return;
    }
    try {
      Class<?> handler = Class.forName("sun.misc.SignalHandler");
      interrupt
          .getClass()
          .getMethod("handle", interrupt.getClass(), handler)
          .invoke(null, interrupt, before);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException(e);
    }
  }
}
