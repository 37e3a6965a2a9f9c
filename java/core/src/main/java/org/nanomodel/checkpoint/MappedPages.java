package org.nanomodel.checkpoint;

import java.lang.foreign.MemorySegment;

/**
 * Pages of mapped files count as memory of the process as long as they are mapped in, although the
 * system can drop them at any time. A job that walks once through a large model gives them back as
 * it goes, so that its size tells the truth.
 */
final class MappedPages {
  private MappedPages() {}

  static void release(MemorySegment segment) {
    if (segment.isMapped()) {
      segment.unload();
    }
  }
}
