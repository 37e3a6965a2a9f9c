"""Quantizes a layer to 4 bits, packs it, multiplies with it and checks the result against a plain loop.

    python3 quantize.py [libnanomodel.so]

Only the standard library: each structure is that of nanomodel.h, field by field.
"""
import ctypes
import ctypes.util
import sys
from ctypes import POINTER, byref, c_char, c_float, c_int32, c_int64, c_uint8, c_uint32, c_void_p, sizeof

M, N, K, GROUP, BITS = 3, 96, 256, 64, 4
GROUPS = K // GROUP
TIER_AUTO, F16, ABI_MAJOR = -1, 1, 1


class Sized(ctypes.Structure):
    """A structure that begins with its own size, as the ABI asks."""

    def __init__(self, **fields):
        super().__init__(struct_size=sizeof(self), **fields)


class EngineOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("device_kind", c_int32), ("device_index", c_int32),
                ("threads", c_int32), ("tier", c_int32), ("spin_us", c_int32),
                ("activations", c_int32)]


class Codes(Sized):
    _fields_ = [("struct_size", c_uint32), ("bits", c_int32), ("n", c_int64), ("k", c_int64),
                ("group_size", c_int64), ("codes", c_void_p), ("scales", c_void_p), ("zeros", c_void_p),
                ("g_idx", c_void_p)]


class RtnArgs(Sized):
    _fields_ = [("struct_size", c_uint32), ("sym", c_int32), ("scale_type", c_int32), ("reserved", c_int32),
                ("w", c_void_p), ("w_stride", c_int64), ("out", POINTER(Codes)), ("cancel", c_void_p)]


class Weight(Sized):
    _fields_ = [("struct_size", c_uint32), ("bits", c_int32), ("type", c_int32), ("activations", c_int32),
                ("n", c_int64), ("k", c_int64), ("group_size", c_int64), ("data", c_void_p), ("codes", c_void_p),
                ("scales", c_void_p), ("zeros", c_void_p), ("g_idx", c_void_p)]


class LinearInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("bits", c_int32), ("type", c_int32), ("act_order", c_int32),
                ("n", c_int64), ("k", c_int64), ("groups", c_int64), ("bytes", c_int64), ("kernel", c_char * 64)]


class LinearArgs(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_int32), ("m", c_int64), ("image", c_void_p),
                ("image_bytes", c_int64), ("x", c_void_p), ("x_stride", c_int64), ("y", c_void_p),
                ("y_stride", c_int64), ("bias", c_void_p), ("residual", c_void_p), ("residual_stride", c_int64),
                ("cancel", c_void_p)]


def numbers(count, seed):
    """Numbers in [-1, 1), the same ones in each of these examples."""
    made = (c_float * count)()
    for i in range(count):
        seed = (seed * 1664525 + 1013904223) & 0xFFFFFFFF
        made[i] = (seed >> 8) / 8388608 - 1
    return made


def address(array):
    return ctypes.cast(array, c_void_p)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ctypes.util.find_library("nanomodel")
    if path is None:
        sys.exit("libnanomodel was not found: give its path")
    lib = ctypes.CDLL(path)

    def call(name, *arguments):
        if getattr(lib, name)(*arguments) != 0:
            why = ctypes.create_string_buffer(1024)
            lib.nm_last_error(why, c_int64(len(why)))
            raise RuntimeError(why.value.decode())

    major, minor = c_int32(), c_int32()
    call("nm_abi_version", byref(major), byref(minor))
    if major.value != ABI_MAJOR:
        sys.exit(f"{path} has ABI {major.value}, this program needs {ABI_MAJOR}")

    engine = c_void_p()
    call("nm_engine_create", byref(EngineOptions(tier=TIER_AUTO)), byref(engine))

    w, x, y = numbers(N * K, 1), numbers(M * K, 2), (c_float * (M * N))()
    codes, zeros, scales = (c_uint8 * (N * K))(), (c_uint8 * (GROUPS * N))(), (c_float * (GROUPS * N))()
    layer = dict(bits=BITS, n=N, k=K, group_size=GROUP, codes=address(codes), scales=address(scales),
                 zeros=address(zeros))
    quantized = Codes(**layer)
    call("nm_rtn", engine,
         byref(RtnArgs(sym=1, scale_type=F16, w=address(w), w_stride=K, out=ctypes.pointer(quantized))))

    weight, size = Weight(**layer), c_int64()
    call("nm_linear_pack_size", engine, byref(weight), byref(size))
    image = ctypes.create_string_buffer(size.value)
    call("nm_linear_pack", engine, byref(weight), image, size)
    info = LinearInfo()
    call("nm_linear_query", engine, image, size, byref(info))
    call("nm_linear", engine,
         byref(LinearArgs(m=M, image=address(image), image_bytes=size.value, x=address(x), x_stride=K,
                          y=address(y), y_stride=N)))
    call("nm_engine_destroy", engine)

    # Roundings of float32: (K + 4) units of 2^-24 of the sum of magnitudes. And x is rounded to 16 bits (nanomodel.h).
    worst = 0.0
    for m in range(M):
        for n in range(N):
            row = x[m * K:(m + 1) * K]
            weights = [scales[k // GROUP * N + n] * (codes[n * K + k] - zeros[k // GROUP * N + n]) for k in range(K)]
            products = [v * w for v, w in zip(row, weights)]
            allowed = ((K + 4) * 2.0**-24 * sum(map(abs, products))
                       + max(map(abs, row)) / 65000 * sum(map(abs, weights)))
            error = abs(y[m * N + n] - sum(products)) / allowed
            worst = max(error, worst)  # max keeps its first argument when that is NaN
    print(f"Python: ABI {major.value}.{minor.value}, {info.kernel.decode()}, {N} x {K} in {BITS} bits, "
          f"y[0] = {y[0]:.6f}, error {worst:.3f} of what rounding allows")
    return 0 if worst <= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
