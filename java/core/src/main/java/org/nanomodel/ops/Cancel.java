package org.nanomodel.ops;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;

/**
 * A flag that kernels poll between tiles: raised from any thread, it ends the call in flight. One
 * per request.
 */
public final class Cancel {
  private static final VarHandle FLAG = ValueLayout.JAVA_INT.varHandle();

  private final MemorySegment flag = Arena.ofAuto().allocate(ValueLayout.JAVA_INT);

  public void raise() {
    FLAG.setVolatile(flag, 0L, 1);
  }

  public boolean isRaised() {
    return (int) FLAG.getVolatile(flag, 0L) != 0;
  }

  MemorySegment pointer() {
    return flag;
  }
}
