/*
 * libnanomodel: kernels for quantized language models. The whole C ABI.
 *
 * Conventions
 *   - Every function returns NM_OK (0) or a negative nm_status. nm_last_error() tells, per thread, which function and
 *     argument was wrong, what came and what was expected. Nothing aborts, prints, throws or reads the environment.
 *   - Every struct begins with struct_size = sizeof(the struct) as the caller was compiled; fields are only ever added at
 *     the end. Reserved and unused fields are zero.
 *   - Shapes are int64_t and count elements, never bytes. Matrices are row-major; a *_stride is the distance between the
 *     starts of two rows in elements. M = rows of activations (tokens), N = output features, K = input features,
 *     T = tokens of a step, S = sequences of a step, H = query heads, KV = key/value heads, D = head dimension.
 *   - Memory belongs to the caller; native code borrows it for the call. On NM_DEVICE_CPU any host address will do, with
 *     no alignment beyond that of the element type; on other devices addresses come from nm_buffer_alloc.
 *   - An engine runs one call at a time; a second caller waits. Results do not depend on the number of threads. Work
 *     memory belongs to the engine and grows as needed.
 *   - `cancel` in an argument struct may be NULL or the address of an int32_t; when it becomes non-zero the call returns
 *     NM_ERR_CANCELLED between two tiles, and its outputs are unspecified.
 */
#ifndef NANOMODEL_H
#define NANOMODEL_H

#include <stdint.h>

#if defined(_WIN32)
#define NM_API __declspec(dllexport)
#else
#define NM_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---------- versions, status, errors ---------- */

#define NM_ABI_MAJOR 1
#define NM_ABI_MINOR 0

typedef enum nm_status {
  NM_OK = 0,
  NM_ERR_ARGUMENT = -1,    /* NULL, negative, misaligned, overflowing, inconsistent */
  NM_ERR_STRUCT_SIZE = -2, /* struct_size is not one this library knows */
  NM_ERR_HANDLE = -3,      /* the engine was destroyed or never created */
  NM_ERR_UNSUPPORTED = -4, /* valid, but not served by this build, tier or device */
  NM_ERR_MEMORY = -5,      /* allocation failed */
  NM_ERR_DEVICE = -6,      /* no such device, driver missing, device lost */
  NM_ERR_CANCELLED = -7,
  NM_ERR_INTERNAL = -8
} nm_status;

/* The version this library was built with. A caller refuses another major. */
NM_API int32_t nm_abi_version(int32_t *major, int32_t *minor);

/* Copies this thread's last error message, cut to cap - 1 bytes and NUL-terminated; "" when there was none. */
NM_API int32_t nm_last_error(char *buffer, int64_t cap);

/* ---------- what this machine has ---------- */

/* Kernel tiers; of those of one kind of CPU, the better the larger. Those with _VNNI, _AMX, _DOT and _I8MM differ from the
 * ones before them in linear (and AMX in nm_gram) only. */
typedef enum nm_tier {
  NM_TIER_AUTO = -1,
  NM_TIER_REFERENCE = 0,   /* plain C++: the oracle */
  NM_TIER_AVX2 = 1,        /* AVX2, FMA, F16C */
  NM_TIER_AVX2_VNNI = 2,   /* AVX2 and AVX-VNNI */
  NM_TIER_AVX512 = 3,      /* AVX-512 F, BW, VL, DQ */
  NM_TIER_AVX512_VNNI = 4, /* AVX-512 and its VNNI */
  NM_TIER_NEON = 5,        /* 64-bit Arm */
  NM_TIER_NEON_DOT = 6,    /* and its dot products of bytes (FEAT_DotProd) */
  NM_TIER_NEON_I8MM = 7,   /* and those of unsigned with signed ones (FEAT_I8MM) */
  NM_TIER_AVX512_AMX = 8,  /* AVX-512 and its VNNI, and matrix tiles of int8 and bf16 */
  NM_TIER_COUNT = 9
} nm_tier;

/*
 * How x enters a linear with integer weights. A largest |x| is taken, x becomes integers of 16, 8 or 4 bits by it, their
 * products with the codes are summed in int32, and the sums are scaled.
 */
typedef enum nm_activations {
  NM_ACTIVATIONS_AUTO = 0,  /* what the weight asks for, else NEAR_EXACT */
  NM_ACTIVATIONS_EXACT = 1, /* float32: no rounding of x */
  NM_ACTIVATIONS_NEAR_EXACT =
      2,                   /* 16 bits: largest / 32767 a step, in each block of at most 256 columns. Where an engine
                                    of NM_TIER_AVX512_AMX asks for it, x meets float weights as the sum of two bf16, off by
                                    2^-16 of each element at most; float32 and float16 weights likewise */
  NM_ACTIVATIONS_INT8 = 3, /* largest / 127 a step: over the whole row (a token) where the weight asks for it, as its
                                    format says; else over the columns of each group, which is better */
  NM_ACTIVATIONS_INT4 = 4  /* the same, largest / 7 */
} nm_activations;

typedef enum nm_device_kind { NM_DEVICE_CPU = 0, NM_DEVICE_CUDA = 1 } nm_device_kind;

typedef struct nm_cpu_info {
  uint32_t struct_size;
  int32_t logical_cores; /* that this process may use: affinity_cores, or less where a cgroup has a CPU quota */
  char brand[64];
  char features[192]; /* space-separated names, e.g. "avx2 fma f16c avx512f", "asimd asimddp"; "-name" = the CPU has it,
                         the OS is not saving its registers */
  int32_t best_tier;  /* nm_tier */
  uint32_t tiers;     /* bit t set: tier t runs here and is compiled in */
  int32_t affinity_cores; /* that the system lets this process run on */
} nm_cpu_info;

NM_API int32_t nm_cpu_query(nm_cpu_info *info);

/* The names that NANOMODEL_TIER takes: "reference", "avx2", "avx2_vnni" and so on. */
NM_API int32_t nm_tier_name(int32_t tier, char *buffer, int64_t cap);

/* Why a tier does not run here; "" where it does. */
NM_API int32_t nm_tier_reason(int32_t tier, char *buffer, int64_t cap);

typedef struct nm_device_info {
  uint32_t struct_size;
  int32_t kind; /* nm_device_kind */
  int32_t index;
  int32_t compute_major, compute_minor; /* CUDA compute capability; 0 on a CPU */
  int32_t multiprocessors;
  int64_t memory_total, memory_free; /* bytes */
  char name[128];
} nm_device_info;

/* Number of devices of a kind. 0, without an error, when libnanomodel_cuda or the driver is absent; `why` (may be NULL)
 * then says what was missing. */
NM_API int32_t nm_device_count(int32_t kind, int32_t *count, char *why, int64_t cap);
NM_API int32_t nm_device_query(int32_t kind, int32_t index, nm_device_info *info);

/* ---------- engine: one device, its threads, its kernels ---------- */

typedef struct nm_engine nm_engine;

typedef struct nm_engine_options {
  uint32_t struct_size;
  int32_t device_kind; /* nm_device_kind */
  int32_t device_index;
  int32_t threads;     /* CPU workers, the caller included; 0 = all cores this process may use */
  int32_t tier;        /* nm_tier; NM_TIER_AUTO = the best; one the CPU lacks is refused */
  int32_t spin_us;     /* how long an idle worker spins before it sleeps; 0 = default (50) ; -1 = never */
  int32_t activations; /* nm_activations of every linear with integer weights; AUTO = as each weight says */
} nm_engine_options;

typedef struct nm_engine_info {
  uint32_t struct_size;
  int32_t device_kind, device_index;
  int32_t threads;
  int32_t tier;
} nm_engine_info;

NM_API int32_t nm_engine_create(const nm_engine_options *options, nm_engine **engine);
/* Waits for the call in flight. NULL is fine; a second destroy is NM_ERR_HANDLE. */
NM_API int32_t nm_engine_destroy(nm_engine *engine);
NM_API int32_t nm_engine_query(nm_engine *engine, nm_engine_info *info);
/* Waits until all that was enqueued is done (at once on a CPU). */
NM_API int32_t nm_engine_sync(nm_engine *engine);

/* Memory of the engine's device, 64-byte aligned, zeroed. */
NM_API int32_t nm_buffer_alloc(nm_engine *engine, int64_t bytes, void **address);
NM_API int32_t nm_buffer_free(nm_engine *engine, void *address);

typedef enum nm_copy_kind {
  NM_COPY_HOST_TO_DEVICE = 0,
  NM_COPY_DEVICE_TO_HOST = 1, /* waits */
  NM_COPY_DEVICE_TO_DEVICE = 2
} nm_copy_kind;
NM_API int32_t nm_buffer_copy(nm_engine *engine, void *to, const void *from, int64_t bytes, int32_t kind);

/* ---------- numbers ---------- */

typedef enum nm_type {
  NM_F32 = 0,
  NM_F16 = 1,
  NM_BF16 = 2,
  NM_F64 = 3,
  NM_F8_E4M3 = 4, /* the "fn" kind: no infinities, 0x7f is NaN */
  NM_F8_E5M2 = 5
} nm_type;

/* y[i] = x[i] converted; from any nm_type to NM_F32, NM_F16 or NM_BF16, rounded half to even. */
typedef struct nm_convert_args {
  uint32_t struct_size;
  int32_t from, to; /* nm_type */
  int32_t reserved;
  int64_t count;
  const void *x;
  void *y;
  const int32_t *cancel;
} nm_convert_args;
NM_API int32_t nm_convert(nm_engine *engine, const nm_convert_args *args);

/* ---------- linear: y[M,N] = x[M,K] . W[N,K]^T (+ bias) (+ residual) ---------- */

/*
 * A weight, as it is handed to nm_linear_pack.
 *   Float weights:   type = NM_F32, NM_F16, NM_BF16; data[N,K].
 *   Integer weights: bits 2..8; codes[N,K] one byte each (0..2^bits-1); scales[G,N]; zeros[G,N] as exact codes, or NULL
 *                    for the symmetric 2^(bits-1); g_idx[K] = group of each column, or NULL for k / group_size.
 *                    W[n,k] = scales[g,n] * (codes[n,k] - zeros[g,n]), g = g_idx[k]. G = ceil(K / group_size).
 *                    This canonical form is what the checkpoint unpackers make; the packed image is private to the kernel.
 */
typedef struct nm_weight {
  uint32_t struct_size;
  int32_t bits;        /* 0 = float weight */
  int32_t type;        /* nm_type of data when bits == 0 */
  int32_t activations; /* of integer weights: AUTO, INT8 or INT4, as their format says (W8A8, W4A8, W4A4) */
  int64_t n, k;
  int64_t group_size; /* 1..K; ignored when bits == 0 */
  const void *data;
  const uint8_t *codes;
  const float *scales;
  const uint8_t *zeros;
  const int32_t *g_idx;
} nm_weight;

/* Bytes of the packed image that this engine's kernel wants for such a weight (pointers are not read, but g_idx is:
 * a column order that no group boundary of the 4-bit layout fits widens to 8 bits). */
NM_API int32_t nm_linear_pack_size(nm_engine *engine, const nm_weight *weight, int64_t *bytes);
/* Packs into image[bytes], 8-byte aligned (64 is faster). The image holds no addresses and fits engines of every tier. */
NM_API int32_t nm_linear_pack(nm_engine *engine, const nm_weight *weight, void *image, int64_t bytes);

typedef struct nm_linear_info {
  uint32_t struct_size;
  int32_t bits; /* as stored: 2- and 3-bit weights may be widened */
  int32_t type; /* nm_type of float weights */
  int32_t act_order;
  int64_t n, k, groups, bytes;
  char kernel[64]; /* numbers of weights, of x where they are not float32, and tier: "linear_i4_i16_avx512" */
} nm_linear_info;
NM_API int32_t nm_linear_query(nm_engine *engine, const void *image, int64_t bytes, nm_linear_info *info);

/*
 * Float weights: float32 sums. Integer weights: nm_activations; the reference tier is exact where others are near exact. A
 * row of y has the same bits in whatever batch, and with int8 or int4 activations on every tier.
 */
typedef struct nm_linear_args {
  uint32_t struct_size;
  int32_t reserved;
  int64_t m;
  const void *image; /* from nm_linear_pack */
  int64_t image_bytes;
  const float *x; /* [M,K] */
  int64_t x_stride;
  float *y; /* [M,N]; may be the residual, must not overlap x */
  int64_t y_stride;
  const float *bias;     /* [N] or NULL */
  const float *residual; /* [M,N] or NULL; added last */
  int64_t residual_stride;
  const int32_t *cancel;
} nm_linear_args;
NM_API int32_t nm_linear(nm_engine *engine, const nm_linear_args *args);

/* ---------- embedding and rows ---------- */

/* y[t,:] = table[ids[t],:] as float32, plus residual[t,:]. An id outside 0..rows-1 is NM_ERR_ARGUMENT. */
typedef struct nm_embedding_args {
  uint32_t struct_size;
  int32_t type; /* nm_type of the table: NM_F32, NM_F16, NM_BF16 */
  int64_t t, rows, cols;
  const void *table; /* [rows,cols] */
  int64_t table_stride;
  const int32_t *ids; /* [T] */
  float *y;           /* [T,cols]; may be the residual */
  int64_t y_stride;
  const float *residual; /* [T,cols] or NULL */
  int64_t residual_stride;
  const int32_t *cancel;
} nm_embedding_args;
NM_API int32_t nm_embedding(nm_engine *engine, const nm_embedding_args *args);

/* ---------- norms ---------- */

/*
 * Over the last dimension of x[rows, groups, cols] (groups > 1: heads that lie side by side in a row, as for the query
 * and key norms of Qwen3). x and y may be the same. Zhang & Sennrich 2019; Ba et al. 2016.
 *   rms:   y = x / sqrt(mean(x^2) + eps) * weight
 *   layer: y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias      (bias may be NULL, weight too)
 */
typedef struct nm_norm_args {
  uint32_t struct_size;
  float eps;
  int64_t rows, groups, cols;
  const float *x;
  int64_t x_stride; /* between rows; groups follow each other directly */
  float *y;
  int64_t y_stride;
  const float *weight; /* [cols] */
  const float *bias;   /* [cols], layer norm only */
  const int32_t *cancel;
} nm_norm_args;
NM_API int32_t nm_rms_norm(nm_engine *engine, const nm_norm_args *args);
NM_API int32_t nm_layer_norm(nm_engine *engine, const nm_norm_args *args);

/* ---------- the ragged batch ---------- */

/*
 * One step runs T tokens of S sequences, prefill and decode mixed. The arrays lie in the engine's memory; ops read them
 * there, and no op takes a position as a number, so that a captured step can be replayed.
 */
typedef struct nm_batch {
  uint32_t struct_size;
  int32_t reserved;
  int64_t tokens;             /* T */
  int64_t sequences;          /* S */
  const int32_t *positions;   /* [T] position of each token in its sequence, 0-based */
  const int32_t *sequence;    /* [T] which sequence each token belongs to, 0..S-1 */
  const int32_t *block_table; /* [S, block_table_stride] numbers of the KV blocks of a sequence, in order */
  int64_t block_table_stride;
} nm_batch;

/* ---------- rotary position embedding (Su et al. 2021) ---------- */

/*
 * cos[t,i] = scale * cos(position[t] * inv_freq[i]), sin likewise, i < rotary_dim / 2; once a step, for all layers.
 * Plain, linear, llama3 and YaRN scaling differ in inv_freq and scale only. The angle is rounded to float32 before the
 * cosine is taken, as the reference implementations do.
 */
typedef struct nm_rope_table_args {
  uint32_t struct_size;
  float scale;
  int64_t half; /* rotary_dim / 2 */
  const nm_batch *batch;
  const float *inv_freq; /* [half] */
  float *cos, *sin;      /* [T,half] */
  const int32_t *cancel;
} nm_rope_table_args;
NM_API int32_t nm_rope_table(nm_engine *engine, const nm_rope_table_args *args);

/*
 * Rotates the first 2 * half elements of each of `heads` heads of x[T, heads, D] in place; the rest of a head is left
 * as it is (partial rotary). Pairs are (i, i + half), or (2i, 2i + 1) when interleaved.
 */
typedef struct nm_rope_args {
  uint32_t struct_size;
  int32_t interleaved;
  int64_t t, heads, head_dim, half;
  float *x;
  int64_t x_stride;
  const float *cos, *sin; /* [T,half] */
  const int32_t *cancel;
} nm_rope_args;
NM_API int32_t nm_rope(nm_engine *engine, const nm_rope_args *args);

/* ---------- paged KV cache and attention ---------- */

/*
 * One layer's keys [blocks, KV, D, block_size] and values [blocks, KV, block_size, D]: position p of a sequence lies in its
 * block block_table[p / block_size] at p % block_size. Keys of neighbouring positions lie side by side, so that a vector
 * holds a dimension of many keys. Fastest where block_size is a multiple of 16.
 */
typedef struct nm_kv_cache {
  uint32_t struct_size;
  int32_t type; /* nm_type; NM_F32 */
  int64_t blocks, block_size, kv_heads, head_dim;
  void *keys, *values;
} nm_kv_cache;

/* Writes key[T, KV, D] and value[T, KV, D] of each token to its place. */
typedef struct nm_kv_append_args {
  uint32_t struct_size;
  int32_t reserved;
  const nm_batch *batch;
  const nm_kv_cache *cache;
  const float *key, *value;
  int64_t key_stride, value_stride;
  const int32_t *cancel;
} nm_kv_append_args;
NM_API int32_t nm_kv_append(nm_engine *engine, const nm_kv_append_args *args);

/*
 * y[t, h, :] = softmax(scale * q[t,h] . K[0..p]) V[0..p], p = positions[t]: causal, over the cache, which must hold the
 * step's own tokens already. H is a multiple of KV (grouped heads). window > 0: only the last `window` positions, the
 * token's own included.
 */
typedef struct nm_attention_args {
  uint32_t struct_size;
  float scale; /* usually 1 / sqrt(D) */
  int64_t heads;
  int64_t window; /* 0 = all */
  const nm_batch *batch;
  const nm_kv_cache *cache;
  const float *q; /* [T, H, D] */
  int64_t q_stride;
  float *y; /* [T, H, D] */
  int64_t y_stride;
  const int32_t *cancel;
} nm_attention_args;
NM_API int32_t nm_attention(nm_engine *engine, const nm_attention_args *args);

/* ---------- activations ---------- */

typedef enum nm_activation {
  NM_SILU = 0,      /* x / (1 + exp(-x)) */
  NM_GELU = 1,      /* x * Phi(x), by erf */
  NM_GELU_TANH = 2, /* the tanh approximation (Hendrycks & Gimpel 2016) */
  NM_RELU = 3
} nm_activation;

/* y[r,c] = act(x[r,c]) or, with `up`, act(x[r,c]) * up[r,c]. y may be x or up. */
typedef struct nm_activation_args {
  uint32_t struct_size;
  int32_t kind; /* nm_activation */
  int64_t rows, cols;
  const float *x;
  int64_t x_stride;
  const float *up; /* or NULL */
  int64_t up_stride;
  float *y;
  int64_t y_stride;
  const int32_t *cancel;
} nm_activation_args;
NM_API int32_t nm_activate(nm_engine *engine, const nm_activation_args *args);

/* ---------- softmax and sampling ---------- */

/* y = softmax(x / temperature) of each row; x and y may be the same. temperature > 0. */
typedef struct nm_softmax_args {
  uint32_t struct_size;
  float temperature;
  int64_t rows, cols;
  const float *x;
  int64_t x_stride;
  float *y;
  int64_t y_stride;
  const int32_t *cancel;
} nm_softmax_args;
NM_API int32_t nm_softmax(nm_engine *engine, const nm_softmax_args *args);

/*
 * Row by row, the next token of logits[rows, vocab]. temperature 0 = argmax (the smallest id among equals). Otherwise:
 * logits / temperature, the top_k largest (0 = all), of those the smallest set whose probability reaches top_p (1 = all),
 * of those all with at least min_p times the largest probability (0 = all); one is drawn with `uniform[row]` in [0,1), in
 * order of falling probability (equal ones by id). ids[row] = the choice; logprobs[row] (may be NULL) = its log probability under
 * softmax(logits) without temperature or cuts.
 */
typedef struct nm_sample_args {
  uint32_t struct_size;
  float temperature;
  float top_p, min_p;
  int64_t top_k;
  int64_t rows, vocab;
  const float *logits;
  int64_t logits_stride;
  const float *uniform; /* [rows]; may be NULL at temperature 0 */
  int32_t *ids;         /* [rows] */
  float *logprobs;
  const int32_t *cancel;
} nm_sample_args;
NM_API int32_t nm_sample(nm_engine *engine, const nm_sample_args *args);

/* nll[row] = -log softmax(logits[row])[targets[row]], summed in float64. What perplexity is made of. */
typedef struct nm_nll_args {
  uint32_t struct_size;
  int32_t reserved;
  int64_t rows, vocab;
  const float *logits;
  int64_t logits_stride;
  const int32_t *targets; /* [rows] */
  double *nll;            /* [rows] */
  const int32_t *cancel;
} nm_nll_args;
NM_API int32_t nm_nll(nm_engine *engine, const nm_nll_args *args);

/*
 * Kullback-Leibler divergence in nats, row by row: kl[row] = sum of p (log p - log q), p = softmax(reference[row]),
 * q = softmax(logits[row]); never below 0, summed in float64. Log probabilities serve as logits. The largest element of
 * each (the smallest id among equals) is the token that a greedy choice takes.
 */
typedef struct nm_kl_args {
  uint32_t struct_size;
  int32_t reserved;
  int64_t rows, vocab;
  const float *reference;
  int64_t reference_stride;
  const float *logits;
  int64_t logits_stride;
  double *kl;             /* [rows] */
  int32_t *top_reference; /* [rows] id of the largest reference logit, or NULL */
  int32_t *top;           /* [rows] id of the largest logit, or NULL */
  const int32_t *cancel;
} nm_kl_args;
NM_API int32_t nm_kl(nm_engine *engine, const nm_kl_args *args);

/* ---------- quantizing and checkpoint layouts ---------- */

/* Canonical integer weights, see nm_weight; the same arrays, writable. */
typedef struct nm_codes {
  uint32_t struct_size;
  int32_t bits;
  int64_t n, k, group_size; /* group_size 1..K */
  uint8_t *codes;           /* [N,K] */
  float *scales;            /* [G,N] */
  uint8_t *zeros;           /* [G,N] */
  const int32_t *g_idx;     /* [K] or NULL */
} nm_codes;

/*
 * Round to nearest. sym: scale = 2 * absmax / (2^bits - 1), zero = 2^(bits-1). asym: min <= 0 <= max,
 * scale = (max - min) / (2^bits - 1), zero = round(-min / scale). An all-zero group gets the range -1..1. codes =
 * clamp(round(w / scale) + zero, 0, 2^bits - 1), halves to even. sym 2, narrow, leaves code 0 out: scale =
 * absmax / (2^(bits-1) - 1), zero = 2^(bits-1). A weight that is not finite is NM_ERR_ARGUMENT.
 * Groups are k / group_size: out->g_idx is NULL.
 */
typedef struct nm_rtn_args {
  uint32_t struct_size;
  int32_t sym;
  int32_t scale_type; /* nm_type: scales are rounded to it before the codes are taken, so that a reader's scale fits */
  int32_t reserved;
  const float *w; /* [N,K] */
  int64_t w_stride;
  const nm_codes *out;
  const int32_t *cancel;
} nm_rtn_args;
NM_API int32_t nm_rtn(nm_engine *engine, const nm_rtn_args *args);

/* w[n,k] = scales[g,n] * (codes[n,k] - zeros[g,n]), one float32 multiplication: equal bit for bit everywhere. */
typedef struct nm_dequantize_args {
  uint32_t struct_size;
  int32_t reserved;
  const nm_codes *in;
  float *w; /* [N,K] */
  int64_t w_stride;
  const int32_t *cancel;
} nm_dequantize_args;
NM_API int32_t nm_dequantize(nm_engine *engine, const nm_dequantize_args *args);

/*
 * GPTQ tensors <-> canonical codes. Each column n of qweight is a stream of codes[n,0..K-1], each row g of qzeros one of
 * zeros[g,0..N-1]. bits 2..8.
 *   planar 0: one bit stream, least significant bit first, cut into words of word_bits (a code may straddle words):
 *     qweight [ceil(K*bits/word_bits), N], qzeros [G, ceil(N*bits/word_bits)].
 *   planar 1: 32 codes are a block of `bits` words of 32 bits: bit planes, low plane first, of 2+1 (3 bits), 4+1 (5), 4+2 (6),
 *     4+2+1 (7) bits, else one; a plane of w bits is a stream of its own in w words.
 *     qweight [ceil(K/32)*bits, N], qzeros [G, ceil(N/32)*bits].
 *   zero_offset 1: the v1 layout, which stores zero - 1 (modulo 2^bits, lane by lane); 0: v2.
 * nm_gptq_pack with zero_offset 1 refuses a true zero of 0 (NM_ERR_ARGUMENT): other readers would misread it.
 * Scales keep their own tensor; convert them with nm_convert.
 */
typedef struct nm_gptq_args {
  uint32_t struct_size;
  int32_t zero_offset;
  int32_t word_bits;     /* 32, 16 or 8; 32 when planar */
  int32_t planar;        /* 0 or 1 */
  const nm_codes *codes; /* scales and g_idx are not touched and may be NULL */
  void *qweight;         /* words of word_bits */
  void *qzeros;
  const int32_t *cancel;
} nm_gptq_args;
NM_API int32_t nm_gptq_unpack(nm_engine *engine, const nm_gptq_args *args);
NM_API int32_t nm_gptq_pack(nm_engine *engine, const nm_gptq_args *args);

/*
 * AWQ tensors in the GEMM layout <-> canonical codes: bits 4, N a multiple of 8. A word holds 8 codes that are neighbours
 * along N, element order[i] in nibble i, order = 0 2 4 6 1 3 5 7. Zeros are exact.
 *   qweight [K, N/8]: word [k,c] holds codes[8c..8c+7, k]; qzeros [G, N/8]: word [g,c] holds zeros[g, 8c..8c+7].
 */
typedef struct nm_awq_args {
  uint32_t struct_size;
  int32_t reserved;
  const nm_codes *codes; /* scales and g_idx are not touched and may be NULL */
  uint32_t *qweight;
  uint32_t *qzeros;
  const int32_t *cancel;
} nm_awq_args;
NM_API int32_t nm_awq_unpack(nm_engine *engine, const nm_awq_args *args);
NM_API int32_t nm_awq_pack(nm_engine *engine, const nm_awq_args *args);

/*
 * Codes of a weight <-> the words of layouts that keep scales and zeros in tensors of their own.
 *   ROWS: bits 2..8; row n of words is the bit stream of codes[n,0..K-1], least significant bit first, in whole words.
 *   GEMV_FAST: words [N/4, K] of 16 bits; N a multiple of 4, K of 64. Word [r, 64 s + 16 j + w], nibble i holds
 *     codes[4 r + j, 64 s + 32 (w / 8) + w mod 8 + 8 i].
 *   MARLIN, QQQ_CHANNEL, QQQ_GROUP: words [K/16, 2 N]; N a multiple of 64, K of 16. Word [kt, 128 nt + 4 th + wp], nibble i
 *     holds, with p = order[i], codes[64 nt + 16 wp + th/4 + 8 (p/4), 16 kt + column],
 *     column = 2 (th mod 4) + {0,1,8,9}[p mod 4] in MARLIN, 4 (th mod 4) + p mod 4 in the others;
 *     order = 0 2 4 6 1 3 5 7, in QQQ_CHANNEL 4 0 5 1 6 2 7 3. QQQ_CHANNEL stores code - 8 in two's complement.
 */
typedef enum nm_word_layout {
  NM_WORDS_ROWS = 0,
  NM_WORDS_GEMV_FAST = 1,
  NM_WORDS_MARLIN = 2,
  NM_WORDS_QQQ_CHANNEL = 3,
  NM_WORDS_QQQ_GROUP = 4
} nm_word_layout;

typedef struct nm_words_args {
  uint32_t struct_size;
  int32_t layout; /* nm_word_layout */
  int32_t bits;   /* 4, but in ROWS */
  int32_t reserved;
  int64_t n, k;
  uint8_t *codes; /* [N,K], 0..2^bits-1 */
  void *words;
  const int32_t *cancel;
} nm_words_args;
NM_API int32_t nm_words_unpack(nm_engine *engine, const nm_words_args *args);
NM_API int32_t nm_words_pack(nm_engine *engine, const nm_words_args *args);

/* ---------- GPTQ (Frantar et al. 2022): one module ---------- */

/*
 * Square matrices whose upper triangle counts lie in strips of 48 columns. Strip s holds rows 0..48(s+1)-1 of the columns
 * 48s..48s+47, row by row: element (i,j), i <= j, is at 1152 s (s+1) + 48 i + j - 48 s with s = j / 48. A triangle of K
 * columns has 1152 S (S+1) elements, S = ceil(K / 48). A full matrix in strips has rows 0..48S-1 in every strip: element
 * (i,j) is at 48 * 48S * s + 48 i + j - 48 s, 2304 S^2 elements. What lies beyond K or below the diagonal is zero or
 * unspecified.
 */

/*
 * gram += X^T X, and cross += (exact - X)^T X. float32 products, summed in float32 over 256 rows and from there on in
 * float64, so that how rows are cut into calls changes the last bits of float32 only. Zero both before the first call.
 */
typedef struct nm_gram_args {
  uint32_t struct_size;
  int32_t reserved;
  int64_t t, k;
  const float *x; /* [T,K] inputs of the module */
  int64_t x_stride;
  const float *exact; /* [T,K] the same inputs in the model that is not quantized (GPTAQ), or NULL */
  int64_t exact_stride;
  double *gram;  /* triangle of K in strips */
  double *cross; /* full matrix of K in strips, with exact only */
  const int32_t *cancel;
} nm_gram_args;
NM_API int32_t nm_gram(nm_engine *engine, const nm_gram_args *args);

typedef enum nm_gptq_order {
  NM_GPTQ_ORDER_NONE = 0,
  NM_GPTQ_ORDER_DESC_ACT = 1,   /* all columns by falling diagonal */
  NM_GPTQ_ORDER_GROUP_AWARE = 2 /* columns within their group, then whole groups by their largest; a short last group
                                    stays */
} nm_gptq_order;

/*
 * H = 2 / rows * gram in the chosen order, a dead channel's (H[j,j] = 0) diagonal set to 1, and damp * mean(diagonal)
 * added to the diagonal. H = R R^T with R upper triangular, so that R^-1 is the upper Cholesky factor of H^-1 which the
 * paper takes; R itself serves as well and need not be inverted. When a pivot is not positive, damp grows by
 * damp_increment while below 1; then the diagonal gets a floor of 1e-6 of its largest, and the ladder begins anew; up to
 * six floors, each ten times the last. When all fail, or rows is 0, the outputs are those of H = I and used[0] = -1: plain
 * rounding.
 *   factor[i,c] = R[i,c] / R[c,c] for i < c, else 0.
 *   cross_factor[i,c] = alpha * M[i,c] / R[c,c] for i < c, else 0, where M R^T = 2 / rows * cross, ordered likewise (GPTAQ).
 * A gram that is not finite is NM_ERR_ARGUMENT.
 */
typedef struct nm_gptq_factor_args {
  uint32_t struct_size;
  int32_t order; /* nm_gptq_order */
  int64_t rows, k;
  int64_t group_size;          /* 1..K; of the group-aware order */
  const double *gram;          /* from nm_gram, of `rows` rows in all */
  const double *cross;         /* or NULL */
  double damp, damp_increment; /* 0..1; 0 = no ladder */
  double alpha;                /* with cross */
  float *factor;               /* triangle of K in strips */
  float *cross_factor;         /* the same, with cross */
  float *pivots;               /* [K] R[c,c]; 0 = a dead channel, its weights count as 0 */
  int32_t *perm;               /* [K] the column at each place of the order */
  double *used;                /* [2] the damp and the floor that served; damp -1: none did */
  const int32_t *cancel;
} nm_gptq_factor_args;
NM_API int32_t nm_gptq_factor(nm_engine *engine, const nm_gptq_factor_args *args);

/*
 * Quantizes W column by column in the factor's order; the error of each is carried to those after it. The range of a
 * group is taken from its columns at the place where it begins: as updated up to the last multiple of 128 columns, as the
 * first implementation did; refresh 1: up to the last multiple of 8; static_groups 1: from W itself. mse > 0: of 80 ranges,
 * each a hundredth narrower, the one with the least sum of |error|^mse; 2 bits without sym: the zeros beside it too. Else,
 * with refresh and without static_groups: of thirteen ranges, each a twentieth narrower, and then those a fortieth wider and
 * narrower, the one with which the group's columns have the least loss, where the group begins and ends at a multiple of 8
 * places of the order, or at K.
 * Ranges and refusals otherwise as nm_rtn; codes = clamp(round(w * (1 / scale)) + zero, 0, 2^bits - 1). out->g_idx: the
 * group of each column; unless static_groups, columns of one group follow each other in the order.
 */
typedef struct nm_gptq_quantize_args {
  uint32_t struct_size;
  int32_t sym;
  int32_t scale_type; /* nm_type: scales are rounded to it before codes are taken */
  int32_t static_groups, refresh;
  float mse;
  const float *w; /* [N,K] */
  int64_t w_stride;
  const float *factor;       /* these four from nm_gptq_factor */
  const float *cross_factor; /* or NULL */
  const float *pivots;
  const int32_t *perm;
  const nm_codes *out;
  double *loss; /* [1] sum of (R[c,c] * (weight as updated - as coded))^2: 2 rows times the loss as reported */
  const int32_t *cancel;
} nm_gptq_quantize_args;
NM_API int32_t nm_gptq_quantize(nm_engine *engine, const nm_gptq_quantize_args *args);

/* ---------- AWQ (Lin et al. 2023): one module ---------- */

/*
 * y[n,k] = Q(w[n,k] * scale[k]) / scale[k]: the weight as it comes back when it is scaled, rounded as by nm_rtn, and its
 * input divided by the scale. y may be w.
 */
typedef struct nm_awq_round_args {
  uint32_t struct_size;
  int32_t bits, sym;
  int32_t scale_type; /* as in nm_rtn */
  int64_t n, k, group_size;
  const float *w; /* [N,K] */
  int64_t w_stride;
  const float *scale; /* [K] positive and finite */
  float *y;           /* [N,K] */
  int64_t y_stride;
  const int32_t *cancel;
} nm_awq_round_args;
NM_API int32_t nm_awq_round(nm_engine *engine, const nm_awq_round_args *args);

/*
 * Clips w, row by row and group by group, to the range that rounding (as by nm_rtn) suits best: of the limits
 * (1 - i/20) * absmax, i = 0..9, the one with the least d^T G d, where d is the rounded less the given group and G the
 * group's diagonal block of `gram`, of inputs that are divided by `scale`. That is the squared error of what the group
 * contributes to its output, summed over all rows that the Gram matrix was made of. The first of equal ones is taken.
 */
typedef struct nm_awq_clip_args {
  uint32_t struct_size;
  int32_t bits, sym;
  int32_t scale_type;
  int64_t n, k, group_size;
  const double *gram; /* triangle of K in strips, as from nm_gram */
  const float *scale; /* [K] positive and finite, or NULL: all 1 */
  float *w;           /* [N,K] */
  int64_t w_stride;
  const int32_t *cancel;
} nm_awq_clip_args;
NM_API int32_t nm_awq_clip(nm_engine *engine, const nm_awq_clip_args *args);

/* ---------- EoRA (Liu et al. 2024): what a quantized weight lost, as a product of two thin matrices ---------- */

/*
 * B[N,rank] A[rank,K], of all such products the one with the least |X (D - B A)^T|^2 over the rows X that `gram` was made
 * of; `taken` is what it takes off |X D^T|^2, within a few millionths of the most that is possible. Column i of B is as
 * long as row i of A. Where X says nothing, |D - B A| <= |D|. The first columns serve best, so that a smaller rank is a
 * part of a larger one. Sums in float64; a D or gram that is not finite is NM_ERR_ARGUMENT.
 */
typedef struct nm_eora_args {
  uint32_t struct_size;
  int32_t reserved;
  int64_t n, k;
  int64_t rank;   /* 1..min(N,K) */
  const float *d; /* [N,K] the weight less the quantized one */
  int64_t d_stride;
  const double *gram; /* triangle of K in strips, as from nm_gram */
  float *a;           /* [rank,K] */
  float *b;           /* [N,rank] */
  double *taken;      /* [1] */
  const int32_t *cancel;
} nm_eora_args;
NM_API int32_t nm_eora(nm_engine *engine, const nm_eora_args *args);

#ifdef __cplusplus
}
#endif

#endif /* NANOMODEL_H */
