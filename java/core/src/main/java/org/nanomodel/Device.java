package org.nanomodel;

/** Where a model runs: {@code cpu}, or {@code cuda:1}. */
public record Device(Kind kind, int index) {
  public enum Kind {
    CPU,
    CUDA
  }

  public static final Device CPU = new Device(Kind.CPU, 0);

  public Device {
    if (index < 0 || kind == Kind.CPU && index != 0) {
      throw new IllegalArgumentException("no such device: " + kind + ":" + index);
    }
  }

  public static Device cuda(int index) {
    return new Device(Kind.CUDA, index);
  }

  /** {@code auto}, {@code cpu}, {@code cuda} or {@code cuda:INDEX}. */
  public static Device parse(String name) {
    return switch (name) {
      case "auto" -> BestDevice.get();
      case "cpu" -> CPU;
      case "cuda" -> cuda(0);
      default -> {
        if (!name.matches("cuda:[0-9]{1,4}")) {
          throw new IllegalArgumentException(
              "unknown device '" + name + "': expected auto, cpu, cuda or cuda:INDEX");
        }
        yield cuda(Integer.parseInt(name.substring(5)));
      }
    };
  }

  @Override
  public String toString() {
    return kind == Kind.CPU ? "cpu" : "cuda:" + index;
  }
}
