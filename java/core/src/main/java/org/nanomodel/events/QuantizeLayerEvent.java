package org.nanomodel.events;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A layer was quantized and written. */
@Name("org.nanomodel.QuantizeLayer")
@Label("Quantize Layer")
@Category("NanoModel")
@Description("The modules of a layer were quantized and are on the disk")
@StackTrace(false)
public final class QuantizeLayerEvent extends Event {
  @Label("Output Directory")
  public String output;

  @Label("Layer")
  public int layer;

  @Label("Modules")
  public int modules;

  @Label("Weights")
  public long weights;

  @Label("Largest Loss")
  public double loss;
}
