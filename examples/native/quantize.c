/*
 * Quantizes a layer to 4 bits, packs it, multiplies with it and checks the result against a plain loop.
 *
 *   cc -std=c99 quantize.c $(pkg-config --cflags --libs nanomodel) -o quantize
 */
#include <nanomodel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { M = 3, N = 96, K = 256, GROUP = 64, GROUPS = K / GROUP, BITS = 4 };

/* Numbers in [-1, 1), the same ones in each of these examples. */
static void fill(float *x, int n, uint32_t seed) {
  for (int i = 0; i < n; i++) {
    seed = seed * 1664525u + 1013904223u;
    x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
  }
}

static void require(int32_t status) {
  char why[1024];
  if (status == NM_OK) return;
  nm_last_error(why, sizeof why);
  fprintf(stderr, "status %d: %s\n", status, why);
  exit(1);
}

int main(void) {
  static float w[N * K], x[M * K], y[M * N], scales[GROUPS * N];
  static uint8_t codes[N * K], zeros[GROUPS * N];
  int32_t major, minor;
  require(nm_abi_version(&major, &minor));
  if (major != NM_ABI_MAJOR) {
    fprintf(stderr, "the library has ABI %d, this program needs %d\n", major, NM_ABI_MAJOR);
    return 1;
  }
  fill(w, N * K, 1);
  fill(x, M * K, 2);

  /* All cores, the best kernels of this machine. */
  nm_engine *engine;
  nm_engine_options options = {.struct_size = sizeof options, .tier = NM_TIER_AUTO};
  require(nm_engine_create(&options, &engine));

  nm_codes quantized = {.struct_size = sizeof quantized,
                        .bits = BITS,
                        .n = N,
                        .k = K,
                        .group_size = GROUP,
                        .codes = codes,
                        .scales = scales,
                        .zeros = zeros};
  nm_rtn_args rtn = {
      .struct_size = sizeof rtn, .sym = 1, .scale_type = NM_F16, .w = w, .w_stride = K, .out = &quantized};
  require(nm_rtn(engine, &rtn));

  /* Packed once, in the layout that this engine's kernel reads. */
  nm_weight weight = {.struct_size = sizeof weight,
                      .bits = BITS,
                      .n = N,
                      .k = K,
                      .group_size = GROUP,
                      .codes = codes,
                      .scales = scales,
                      .zeros = zeros};
  int64_t bytes;
  require(nm_linear_pack_size(engine, &weight, &bytes));
  void *image = malloc((size_t)bytes);
  if (image == NULL) return 1;
  require(nm_linear_pack(engine, &weight, image, bytes));
  nm_linear_info info = {.struct_size = sizeof info};
  require(nm_linear_query(engine, image, bytes, &info));

  nm_linear_args linear = {.struct_size = sizeof linear,
                           .m = M,
                           .image = image,
                           .image_bytes = bytes,
                           .x = x,
                           .x_stride = K,
                           .y = y,
                           .y_stride = N};
  require(nm_linear(engine, &linear));

  /* Roundings of float32: (K + 4) units of 2^-24 of the sum of magnitudes. And x is rounded to 16 bits (nanomodel.h). */
  double worst = 0;
  for (int m = 0; m < M; m++)
    for (int n = 0; n < N; n++) {
      double sum = 0, magnitude = 0, largest = 0, weights = 0;
      for (int k = 0; k < K; k++) {
        const int g = k / GROUP;
        const double w = (double)scales[g * N + n] * (codes[n * K + k] - zeros[g * N + n]);
        sum += x[m * K + k] * w;
        magnitude += fabs(x[m * K + k] * w);
        largest = fmax(largest, fabs(x[m * K + k]));
        weights += fabs(w);
      }
      const double allowed = (K + 4) * 0x1p-24 * magnitude + largest / 65000 * weights;
      const double error = fabs(y[m * N + n] - sum) / allowed;
      if (!(error <= worst)) worst = error; /* NaN too */
    }
  printf("C:      ABI %d.%d, %s, %d x %d in %d bits, y[0] = %.6f, error %.3f of what rounding allows\n", major, minor,
         info.kernel, N, K, BITS, y[0], worst);

  free(image);
  require(nm_engine_destroy(engine));
  return worst <= 1 ? 0 : 1;
}
