package org.nanomodel.ffi;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;

/**
 * Where the generated bindings find the functions of libnanomodel: {@code NanoModelH} takes its one
 * lookup from {@link NativeLibrary#lookup()} through this type. The bindings call {@code
 * findOrThrow}, which {@link SymbolLookup} has only since JDK 23; having it here lets them compile
 * for JDK 22 and gives the error a remedy.
 */
@FunctionalInterface
public interface Symbols extends SymbolLookup {

  /**
   * The address of a function, or an error that says that library and bindings do not belong
   * together.
   */
  default MemorySegment findOrThrow(String name) {
    return find(name)
        .orElseThrow(() ->
            new UnsatisfiedLinkError(
                "libnanomodel has no function "
                    + name
                    + ": the library is older than these classes; rebuild it or point"
                    + " -Dnanomodel.library.path at the one that came with them"));
  }
}
