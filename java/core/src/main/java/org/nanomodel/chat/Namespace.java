package org.nanomodel.chat;

import java.util.LinkedHashMap;
import java.util.Map;

/** What {@code namespace()} makes: variables that inner scopes can set. */
record Namespace(Map<String, Object> values) {
  Namespace() {
    this(new LinkedHashMap<>());
  }
}
