package org.nanomodel;

import org.nanomodel.ops.Engine;
import org.nanomodel.ops.EngineOptions;

/**
 * The device that a program without wishes of its own should use: the first GPU if one can be used,
 * else the CPU.
 */
public final class BestDevice {
  private BestDevice() {}

  public static Device get() {
    return Holder.BEST;
  }

  private static final class Holder {
    static final Device BEST = probe();
  }

  /** A GPU that is there but that this library cannot run on, or that is taken, is no choice. */
  private static Device probe() {
    if (Engine.deviceCount(Device.Kind.CUDA) == 0) {
      return Device.CPU;
    }
    try (var engine = Engine.open(new EngineOptions(Device.cuda(0), 0, EngineOptions.AUTO))) {
      return engine.device();
    } catch (NativeException e) {
      System.getLogger(BestDevice.class.getName())
          .log(
              System.Logger.Level.INFO,
              "running on the CPU: cuda:0 cannot be used: " + e.getMessage());
      return Device.CPU;
    }
  }
}
