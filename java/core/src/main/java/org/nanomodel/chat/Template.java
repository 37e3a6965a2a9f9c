package org.nanomodel.chat;

import java.time.LocalDateTime;
import java.util.List;
import java.util.Map;

/**
 * A template in the part of the Jinja2 language that chat templates use, with the options that
 * transformers sets (trim_blocks, lstrip_blocks, loop controls, {@code generation} blocks).
 *
 * <p>Templates see maps, lists, texts, numbers and booleans only, change none of them, and are
 * bounded in steps, text and depth. A template may be used by several threads at once.
 */
public final class Template {
  private static final int MAX_SOURCE = 1 << 20;

  private final List<Stmt> body;

  private Template(List<Stmt> body) {
    this.body = body;
  }

  /** Parses a template; a malformed one is a {@link TemplateException}. */
  public static Template of(String source) {
    if (source.length() > MAX_SOURCE) {
      throw new TemplateException(
          "%,d characters, expected at most %,d".formatted(source.length(), MAX_SOURCE), 1);
    }
    return new Template(Parser.parse(source));
  }

  /**
   * The text that it makes of these variables: maps, lists, texts, numbers, booleans, null, which
   * are copied before.
   */
  public String render(Map<String, ?> variables) {
    return render(variables, LocalDateTime.now());
  }

  /**
   * As {@link #render(Map)}.
   *
   * @param now what {@code strftime_now} tells
   */
  public String render(Map<String, ?> variables, LocalDateTime now) {
    var budget = new Budget();
    var interpreter = new Interpreter(budget);
    var scope = new Scope(null);
    Globals.define(scope, budget, now);
    variables.forEach((name, value) -> scope.set(name, Values.of(value)));
    try {
      return interpreter.run(body, new Scope(scope));
    } catch (Fault e) {
      throw new TemplateException(e.getMessage(), interpreter.line());
    } catch (Globals.Refusal e) {
      throw new TemplateException("the template says: " + e.getMessage(), interpreter.line());
    } catch (StackOverflowError e) {
      throw new TemplateException("is nested too deep", interpreter.line());
    }
  }
}
