package org.nanomodel.checkpoint;

import static java.lang.Long.parseLong;
import static java.nio.charset.StandardCharsets.UTF_8;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.zip.CRC32C;
import org.nanomodel.ffi.PageAdvice;
import org.nanomodel.ops.Linear;
import org.nanomodel.ops.PackedImage;

/**
 * The packed images of a model's linears in one file: magic, length and CRC-32C of the index, the
 * index, the images, each from a page on. The index is text: the length of the file, and in a line
 * for each image the modules, their bits, its position, length and CRC-32C. Everything is verified
 * when it is opened, by reading; an image is mapped by whoever asks for it. Such a file is only
 * ever replaced, so a mapping keeps what was verified.
 */
final class ImageFile implements AutoCloseable {
  private static final long MAGIC = 0x3130_4745_4D49_4D4EL; // "NMIMEG01"
  private static final int HEAD = 16;
  private static final int MOST_INDEX = 64 << 20;
  private static final int CHUNK = 1 << 20;
  private static final int NUMBERS = 64; // bytes of a line beside the name
  private static final long PAGE = 4096;

  /** One image; {@code modules} joined by "+". */
  private record Entry(String modules, int bits, long at, long bytes, long crc32c) {
    static Entry parse(String line) {
      String[] part = line.split("\t", -1);
      return new Entry(
          part[0],
          Integer.parseInt(part[1]),
          parseLong(part[2]),
          parseLong(part[3]),
          parseLong(part[4]));
    }

    String line() {
      return "%s\t%d\t%d\t%d\t%d\n".formatted(modules, bits, at, bytes, crc32c);
    }
  }

  private final FileChannel channel;
  private final Map<String, Entry> entries = new HashMap<>();

  private ImageFile(FileChannel channel) {
    this.channel = channel;
  }

  /**
   * Opens and verifies a file.
   *
   * @throws IOException that says what is wrong with it, if it is not whole
   */
  static ImageFile open(Path path) throws IOException {
    var file = new ImageFile(FileChannel.open(path, StandardOpenOption.READ));
    try {
      file.verify();
      return file;
    } catch (Throwable e) {
      file.close();
      throw e;
    }
  }

  private void verify() throws IOException {
    ByteBuffer head = read(0, HEAD);
    int length = head.getInt(8);
    if (head.getLong(0) != MAGIC || length < 0 || length > MOST_INDEX) {
      throw new IOException("its head is damaged");
    }
    ByteBuffer text = read(HEAD, length);
    if (crc(text.duplicate()) != Integer.toUnsignedLong(head.getInt(12))) {
      throw new IOException("its index is damaged");
    }
    List<String> lines = UTF_8.decode(text).toString().lines().toList();
    long bytes = parseLong(lines.getFirst());
    if (channel.size() != bytes) {
      throw new IOException("it has " + channel.size() + " bytes of " + bytes);
    }
    ByteBuffer buffer = ByteBuffer.allocateDirect(CHUNK);
    for (String line : lines.subList(1, lines.size())) {
      Entry entry = Entry.parse(line);
      if (crc(entry, buffer) != entry.crc32c()) {
        throw new IOException("the image of " + entry.modules() + " is damaged");
      }
      entries.put(entry.modules(), entry);
    }
  }

  private ByteBuffer read(long at, int bytes) throws IOException {
    ByteBuffer buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
    fill(buffer, at);
    return buffer.flip();
  }

  private void fill(ByteBuffer buffer, long at) throws IOException {
    for (long next = at; buffer.hasRemaining(); ) {
      int n = channel.read(buffer, next);
      if (n < 0) {
        throw new IOException("it is cut off at " + channel.size() + " bytes");
      }
      next += n;
    }
  }

  private long crc(Entry entry, ByteBuffer buffer) throws IOException {
    var crc = new CRC32C();
    for (long done = 0; done < entry.bytes(); done += buffer.limit()) {
      buffer.clear().limit((int) Math.min(CHUNK, entry.bytes() - done));
      fill(buffer, entry.at() + done);
      crc.update(buffer.flip());
    }
    return crc.getValue();
  }

  private static long crc(ByteBuffer bytes) {
    var crc = new CRC32C();
    crc.update(bytes);
    return crc.getValue();
  }

  /** The image of modules side by side in N, mapped into {@code owner}. */
  Optional<PackedImage> map(Arena owner, List<String> modules) {
    Entry entry = entries.get(String.join("+", modules));
    if (entry == null) {
      return Optional.empty();
    }
    try {
      MemorySegment image =
          channel.map(FileChannel.MapMode.READ_ONLY, entry.at(), entry.bytes(), owner);
      PageAdvice.populate(image);
      return Optional.of(new PackedImage(entry.bits(), image));
    } catch (IOException e) {
      return Optional.empty(); // no address space for it: pack as without a cache
    }
  }

  /** Writes the images of linears, whole or not at all. */
  static void write(Path path, List<Linear> linears) {
    // Checksums tell what a power cut may leave, so the disk need not be waited for.
    DurableFiles.replace(path, false, channel -> write(channel, linears));
  }

  private static void write(FileChannel channel, List<Linear> linears) throws IOException {
    long names = linears.stream().mapToLong(linear -> linear.name().length()).sum();
    long first = pages(HEAD + 3 * names + (linears.size() + 1L) * NUMBERS);
    byte[] index = index(linears, first);
    ByteBuffer head = ByteBuffer.allocate(HEAD + index.length).order(ByteOrder.LITTLE_ENDIAN);
    head.putLong(MAGIC).putInt(index.length).putInt((int) crc(ByteBuffer.wrap(index)));
    write(channel, head.put(index).flip(), 0);
    long at = first;
    for (Linear linear : linears) {
      MemorySegment image = linear.packed().data();
      for (long done = 0; done < image.byteSize(); done += CHUNK) {
        long n = Math.min(CHUNK, image.byteSize() - done);
        write(channel, image.asSlice(done, n).asByteBuffer(), at + done);
      }
      at += pages(image.byteSize());
    }
    if (channel.size() < at) { // the last page
      write(channel, ByteBuffer.allocate(1), at - 1);
    }
  }

  private static byte[] index(List<Linear> linears, long first) {
    var lines = new StringBuilder();
    long at = first;
    for (Linear linear : linears) {
      MemorySegment image = linear.packed().data();
      var crc = new CRC32C();
      for (long done = 0; done < image.byteSize(); done += CHUNK) {
        long n = Math.min(CHUNK, image.byteSize() - done);
        crc.update(image.asSlice(done, n).asByteBuffer());
      }
      lines.append(
          new Entry(linear.name(), linear.bits(), at, image.byteSize(), crc.getValue()).line());
      at += pages(image.byteSize());
    }
    return (at + "\n" + lines).getBytes(UTF_8);
  }

  private static void write(FileChannel channel, ByteBuffer from, long at) throws IOException {
    for (long next = at; from.hasRemaining(); ) {
      next += channel.write(from, next);
    }
  }

  private static long pages(long bytes) {
    return (bytes + PAGE - 1) / PAGE * PAGE;
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
