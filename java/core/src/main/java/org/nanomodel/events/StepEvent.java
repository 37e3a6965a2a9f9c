package org.nanomodel.events;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A batch of tokens went through the model. */
@Name("org.nanomodel.Step")
@Label("Model Step")
@Category("NanoModel")
@Description("A batch of tokens went through the model, prefill and decode mixed")
@StackTrace(false)
public final class StepEvent extends Event {
  @Label("Tokens")
  public int tokens;

  @Label("Sequences")
  public int sequences;

  @Label("Logit Rows")
  public int rows;
}
