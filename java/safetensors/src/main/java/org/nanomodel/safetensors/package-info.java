/**
 * Reads and writes safetensors files over off-heap memory.
 *
 * <p>A safetensors file is eight bytes of header length (little-endian), a JSON header that names
 * each tensor's type, shape and byte range, and the tensors' bytes, without a gap. {@link
 * org.nanomodel.safetensors.SafetensorsFile} opens one file, {@link
 * org.nanomodel.safetensors.SafetensorsModel} a folder of shards, {@link
 * org.nanomodel.safetensors.SafetensorsWriter} and {@link org.nanomodel.safetensors.ShardedWriter}
 * write them. Tensors are {@link java.lang.foreign.MemorySegment}s of little-endian elements: no
 * size here is limited to 2 GB and nothing is copied to the Java heap.
 *
 * <p>Files are not trusted. Everything a header says is checked before a tensor can be reached, and
 * whatever is wrong becomes one {@link org.nanomodel.safetensors.SafetensorsException}. The checks
 * follow the reference implementation and are narrower in a few places where no real file goes:
 * tensor names are not empty, at most 4,096 characters long, without control characters and without
 * a {@code ..} path segment; a tensor has at most 64 dimensions, a file at most 1,000,000 tensors
 * and 16 Mi characters of metadata; dimensions stay below 2^63; the header starts with an opening
 * brace, repeats no key (the reference takes the last), and each tensor and {@code __metadata__} is
 * an object.
 */
package org.nanomodel.safetensors;
