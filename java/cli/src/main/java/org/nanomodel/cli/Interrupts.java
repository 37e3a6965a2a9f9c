package org.nanomodel.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/**
 * Ctrl-C: raises the cancel flag, gives the verb time to flush what it has, and ends with exit code
 * 5. Without this the JVM would end in the middle of a write, with another code.
 */
final class Interrupts {
  private static final int SECONDS = 10;

  private final Console console;
  private final CountDownLatch done = new CountDownLatch(1);

  private Interrupts(Console console) {
    this.console = console;
  }

  static Interrupts install(Console console) {
    Interrupts interrupts = new Interrupts(console);
    Runtime.getRuntime().addShutdownHook(new Thread(interrupts::onShutdown, "nanomodel-interrupt"));
    return interrupts;
  }

  /** The verb is done: the shutdown that follows is its own. */
  void finished() {
    done.countDown();
  }

  private void onShutdown() {
    if (done.getCount() == 0) {
      return;
    }
    console.cancel().raise();
    try {
      done.await(SECONDS, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    console.flush();
    Runtime.getRuntime().halt(ExitCode.INTERRUPTED);
  }
}
