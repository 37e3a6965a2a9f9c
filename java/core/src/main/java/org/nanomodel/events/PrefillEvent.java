package org.nanomodel.events;

import jdk.jfr.Category;
import jdk.jfr.Description;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A request, from the first step that reads its prompt to its first token. */
@Name("org.nanomodel.Prefill")
@Label("Prefill")
@Category("NanoModel")
@Description("A request, from the first step that reads its prompt to its first token")
@StackTrace(false)
public final class PrefillEvent extends Event {
  @Label("Prompt Tokens")
  public int promptTokens;
}
