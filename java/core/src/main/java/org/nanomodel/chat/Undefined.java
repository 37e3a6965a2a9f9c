package org.nanomodel.chat;

/**
 * The value of a name or key that is not there: prints as nothing, is false, has no elements; any
 * other use is an error that names it.
 */
record Undefined(String what) {
  Fault fault() {
    return new Fault(what + " is undefined");
  }
}
