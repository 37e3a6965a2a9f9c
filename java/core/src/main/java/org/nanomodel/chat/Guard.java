package org.nanomodel.chat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.nanomodel.tokenizer.TextPart;

/**
 * Keeps special tokens that users spell apart from those of the template. Before rendering, the
 * first character of every such spelling in a message is replaced by a stand-in, a character that
 * no text has; afterwards the stand-ins tell where text is that must stay text. The length of a
 * text does not change, and messages that spell no special token are not touched at all.
 *
 * <p>The beginning of a special token at the end of a text is replaced too, since the next message
 * part may go on with the rest.
 */
final class Guard {
  /** Noncharacters of Unicode: no valid text has them. */
  static final char FIRST = '\uFDD0';

  static final char LAST = '\uFDEF';

  private final List<String> specials;
  private final Map<Integer, Character> standIns = new LinkedHashMap<>();
  private final Map<Character, Integer> meanings = new HashMap<>();
  private final Set<Integer> begins = new HashSet<>();
  private boolean used;

  /**
   * @param specials spellings of the special tokens
   */
  Guard(List<String> specials) {
    this.specials = specials;
    for (String special : specials) {
      begins.add(special.codePointAt(0));
    }
    char next = FIRST;
    for (int begin : begins) {
      if (next > LAST) {
        throw new IllegalArgumentException(
            "the special tokens begin with more than "
                + (LAST - FIRST + 1)
                + " different characters");
      }
      standIns.put(begin, next);
      meanings.put(next++, begin);
    }
  }

  /** Was anything replaced? */
  boolean used() {
    return used;
  }

  /** A value with all texts in it guarded; keys of maps too. */
  Object guard(Object value) {
    return switch (value) {
      case String s -> guard(s);
      case List<?> list -> {
        List<Object> copy = new ArrayList<>(list.size());
        list.forEach(item -> copy.add(guard(item)));
        yield copy;
      }
      case Map<?, ?> map -> {
        Map<Object, Object> copy = new LinkedHashMap<>();
        map.forEach((k, v) -> copy.put(guard(k), guard(v)));
        yield copy;
      }
      case null -> null;
      default -> value;
    };
  }

  private String guard(String text) {
    StringBuilder out = null;
    int from = 0;
    for (int i = 0; i < text.length(); i++) {
      char unit = text.charAt(i);
      // A text that brings stand-ins itself would be taken apart wrongly later.
      boolean stray = unit >= FIRST && unit <= LAST;
      int c = text.codePointAt(i);
      if (stray || begins.contains(c) && spells(text, i)) {
        out = out == null ? new StringBuilder() : out;
        out.append(text, from, i).append(stray ? '\uFFFD' : standIns.get(c));
        from = i + Character.charCount(c);
        used |= !stray;
      }
    }
    return out == null ? text : out.append(text, from, text.length()).toString();
  }

  private boolean spells(String text, int at) {
    int left = text.length() - at;
    for (String special : specials) {
      if (text.regionMatches(at, special, 0, Math.min(left, special.length()))) {
        return true;
      }
    }
    return false;
  }

  /** The rendered text in parts: what the template wrote, and first characters that stay text. */
  List<TextPart> parts(String rendered) {
    List<TextPart> parts = new ArrayList<>();
    int from = 0;
    for (int i = 0; i < rendered.length(); i++) {
      Integer meaning = meanings.get(rendered.charAt(i));
      if (meaning != null) {
        parts.add(new TextPart(rendered.substring(from, i), true));
        parts.add(new TextPart(Character.toString(meaning), false));
        from = i + 1;
      }
    }
    parts.add(new TextPart(rendered.substring(from), true));
    return parts;
  }
}
