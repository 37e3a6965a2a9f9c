package org.nanomodel;

import org.nanomodel.ops.Engine;

/**
 * The device that a program without wishes of its own should use: the first GPU if one can be used,
 * else the CPU.
 */
public final class BestDevice {
  private BestDevice() {}

  public static Device get() {
    return Engine.deviceCount(Device.Kind.CUDA) > 0 ? Device.cuda(0) : Device.CPU;
  }
}
