package org.nanomodel.model;

import org.nanomodel.ops.Engine;

/** One engine for the tests that do not close it. */
final class TestEngine {
  private static Engine engine;

  private TestEngine() {}

  static synchronized Engine get() {
    if (engine == null) {
      engine = Engine.open();
    }
    return engine;
  }
}
