package org.nanomodel.events;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** The weights of a model were read and packed. */
@Name("org.nanomodel.Load")
@Label("Model Load")
@Category("NanoModel")
@Description("Weights were read from a checkpoint and packed for the kernels")
@StackTrace(false)
public final class LoadEvent extends Event {
  @Label("Model Directory")
  public String model;

  @Label("Layers")
  public int layers;

  @Label("Weights in Memory")
  @DataAmount
  public long bytes;

  @Label("Device")
  public String device;

  @Label("Kernel Tier")
  public String tier;

  @Label("Linear Kernels")
  @Description("Weight, rounded input if any, and tier of each kind of linear in the model")
  public String kernels;

  @Label("Threads")
  public int threads;
}
