//! Quantizes a layer to 4 bits, packs it, multiplies with it and checks the result against a plain loop.
//!
//!     rustc -O quantize.rs -L native=PREFIX/lib -l nanomodel
//!
//! Each structure is that of nanomodel.h, field by field.
use std::ffi::{c_char, c_void, CStr};
use std::ptr::{null, null_mut};

const M: usize = 3;
const N: usize = 96;
const K: usize = 256;
const GROUP: usize = 64;
const GROUPS: usize = K / GROUP;
const BITS: i32 = 4;
const F16: i32 = 1;
const TIER_AUTO: i32 = -1;
const ABI_MAJOR: i32 = 1;

#[repr(C)]
struct EngineOptions {
    struct_size: u32,
    device_kind: i32,
    device_index: i32,
    threads: i32,
    tier: i32,
    spin_us: i32,
    activations: i32,
}

#[repr(C)]
struct Codes {
    struct_size: u32,
    bits: i32,
    n: i64,
    k: i64,
    group_size: i64,
    codes: *mut u8,
    scales: *mut f32,
    zeros: *mut u8,
    g_idx: *const i32,
}

#[repr(C)]
struct RtnArgs {
    struct_size: u32,
    sym: i32,
    scale_type: i32,
    reserved: i32,
    w: *const f32,
    w_stride: i64,
    out: *const Codes,
    cancel: *const i32,
}

#[repr(C)]
struct Weight {
    struct_size: u32,
    bits: i32,
    kind: i32,
    activations: i32,
    n: i64,
    k: i64,
    group_size: i64,
    data: *const c_void,
    codes: *const u8,
    scales: *const f32,
    zeros: *const u8,
    g_idx: *const i32,
}

#[repr(C)]
struct LinearInfo {
    struct_size: u32,
    bits: i32,
    kind: i32,
    act_order: i32,
    n: i64,
    k: i64,
    groups: i64,
    bytes: i64,
    kernel: [c_char; 64],
}

#[repr(C)]
struct LinearArgs {
    struct_size: u32,
    reserved: i32,
    m: i64,
    image: *const c_void,
    image_bytes: i64,
    x: *const f32,
    x_stride: i64,
    y: *mut f32,
    y_stride: i64,
    bias: *const f32,
    residual: *const f32,
    residual_stride: i64,
    cancel: *const i32,
}

#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

extern "C" {
    fn nm_abi_version(major: *mut i32, minor: *mut i32) -> i32;
    fn nm_last_error(buffer: *mut c_char, cap: i64) -> i32;
    fn nm_engine_create(options: *const EngineOptions, engine: *mut *mut Handle) -> i32;
    fn nm_engine_destroy(engine: *mut Handle) -> i32;
    fn nm_rtn(engine: *mut Handle, args: *const RtnArgs) -> i32;
    fn nm_linear_pack_size(engine: *mut Handle, weight: *const Weight, bytes: *mut i64) -> i32;
    fn nm_linear_pack(engine: *mut Handle, weight: *const Weight, image: *mut c_void, bytes: i64) -> i32;
    fn nm_linear_query(engine: *mut Handle, image: *const c_void, bytes: i64, info: *mut LinearInfo) -> i32;
    fn nm_linear(engine: *mut Handle, args: *const LinearArgs) -> i32;
}

fn size<T>() -> u32 {
    std::mem::size_of::<T>() as u32
}

/// An error code becomes an error with the library's own words.
fn check(status: i32) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    let mut why = [0 as c_char; 1024];
    unsafe {
        nm_last_error(why.as_mut_ptr(), why.len() as i64);
        Err(CStr::from_ptr(why.as_ptr()).to_string_lossy().into_owned())
    }
}

struct Engine(*mut Handle);

impl Engine {
    fn open() -> Result<Engine, String> {
        let options = EngineOptions {
            struct_size: size::<EngineOptions>(),
            device_kind: 0,
            device_index: 0,
            threads: 0,
            tier: TIER_AUTO,
            spin_us: 0,
            activations: 0,
        };
        let mut engine = null_mut();
        check(unsafe { nm_engine_create(&options, &mut engine) })?;
        Ok(Engine(engine))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        unsafe { nm_engine_destroy(self.0) };
    }
}

/// A layer in 4 bits and its packed image.
struct Layer {
    codes: Vec<u8>,
    scales: Vec<f32>,
    zeros: Vec<u8>,
    image: Vec<u8>,
}

impl Layer {
    fn quantize(engine: &Engine, w: &[f32]) -> Result<Layer, String> {
        assert_eq!(w.len(), N * K);
        let mut layer = Layer {
            codes: vec![0; N * K],
            scales: vec![0.0; GROUPS * N],
            zeros: vec![0; GROUPS * N],
            image: Vec::new(),
        };
        let out = Codes {
            struct_size: size::<Codes>(),
            bits: BITS,
            n: N as i64,
            k: K as i64,
            group_size: GROUP as i64,
            codes: layer.codes.as_mut_ptr(),
            scales: layer.scales.as_mut_ptr(),
            zeros: layer.zeros.as_mut_ptr(),
            g_idx: null(),
        };
        let rtn = RtnArgs {
            struct_size: size::<RtnArgs>(),
            sym: 1,
            scale_type: F16,
            reserved: 0,
            w: w.as_ptr(),
            w_stride: K as i64,
            out: &out,
            cancel: null(),
        };
        check(unsafe { nm_rtn(engine.0, &rtn) })?;
        layer.pack(engine)?;
        Ok(layer)
    }

    fn pack(&mut self, engine: &Engine) -> Result<(), String> {
        let weight = Weight {
            struct_size: size::<Weight>(),
            bits: BITS,
            kind: 0,
            activations: 0,
            n: N as i64,
            k: K as i64,
            group_size: GROUP as i64,
            data: null(),
            codes: self.codes.as_ptr(),
            scales: self.scales.as_ptr(),
            zeros: self.zeros.as_ptr(),
            g_idx: null(),
        };
        let mut bytes = 0;
        check(unsafe { nm_linear_pack_size(engine.0, &weight, &mut bytes) })?;
        self.image.resize(bytes as usize, 0);
        check(unsafe { nm_linear_pack(engine.0, &weight, self.image.as_mut_ptr().cast(), bytes) })
    }

    fn kernel(&self, engine: &Engine) -> Result<String, String> {
        let mut info: LinearInfo = unsafe { std::mem::zeroed() };
        info.struct_size = size::<LinearInfo>();
        let image = self.image.as_ptr().cast();
        check(unsafe { nm_linear_query(engine.0, image, self.image.len() as i64, &mut info) })?;
        Ok(unsafe { CStr::from_ptr(info.kernel.as_ptr()).to_string_lossy().into_owned() })
    }

    fn multiply(&self, engine: &Engine, x: &[f32]) -> Result<Vec<f32>, String> {
        assert_eq!(x.len(), M * K);
        let mut y = vec![0.0; M * N];
        let linear = LinearArgs {
            struct_size: size::<LinearArgs>(),
            reserved: 0,
            m: M as i64,
            image: self.image.as_ptr().cast(),
            image_bytes: self.image.len() as i64,
            x: x.as_ptr(),
            x_stride: K as i64,
            y: y.as_mut_ptr(),
            y_stride: N as i64,
            bias: null(),
            residual: null(),
            residual_stride: 0,
            cancel: null(),
        };
        check(unsafe { nm_linear(engine.0, &linear) })?;
        Ok(y)
    }

    /// The largest error, as a share of what rounding allows: (K + 4) units of 2^-24 of the sum of magnitudes, and x
    /// is rounded to 16 bits (nanomodel.h).
    fn error(&self, x: &[f32], y: &[f32]) -> f64 {
        let mut worst = 0.0;
        for m in 0..M {
            for n in 0..N {
                let (mut sum, mut magnitude, mut largest, mut weights) = (0.0, 0.0, 0.0f64, 0.0);
                for k in 0..K {
                    let at = k / GROUP * N + n;
                    let code = self.codes[n * K + k] as f64 - self.zeros[at] as f64;
                    let (v, w) = (x[m * K + k] as f64, self.scales[at] as f64 * code);
                    sum += v * w;
                    magnitude += (v * w).abs();
                    largest = largest.max(v.abs());
                    weights += w.abs();
                }
                let allowed = (K + 4) as f64 * 2f64.powi(-24) * magnitude + largest / 65000.0 * weights;
                let error = (y[m * N + n] as f64 - sum).abs() / allowed;
                if !(error <= worst) {
                    worst = error; // NaN too
                }
            }
        }
        worst
    }
}

/// Numbers in [-1, 1), the same ones in each of these examples.
fn numbers(count: usize, mut seed: u32) -> Vec<f32> {
    let next = || {
        seed = seed.wrapping_mul(1664525).wrapping_add(1013904223);
        (seed >> 8) as f32 / 8388608.0 - 1.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn main() -> Result<(), String> {
    let (mut major, mut minor) = (0, 0);
    check(unsafe { nm_abi_version(&mut major, &mut minor) })?;
    if major != ABI_MAJOR {
        return Err(format!("the library has ABI {major}, this program needs {ABI_MAJOR}"));
    }
    let engine = Engine::open()?;
    let x = numbers(M * K, 2);
    let layer = Layer::quantize(&engine, &numbers(N * K, 1))?;
    let y = layer.multiply(&engine, &x)?;
    let (kernel, worst) = (layer.kernel(&engine)?, layer.error(&x, &y));
    println!(
        "Rust:   ABI {major}.{minor}, {kernel}, {N} x {K} in {BITS} bits, y[0] = {:.6}, \
         error {worst:.3} of what rounding allows",
        y[0]
    );
    if worst <= 1.0 {
        Ok(())
    } else {
        Err("the result is wrong".into())
    }
}
