package org.nanomodel.chat;

/** A function of a template: a macro, a method of a value, or one of the few global ones. */
interface Callable {
  Object call(Args args);
}
