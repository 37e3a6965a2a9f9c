// RMS norm over the last dimension of x[rows, groups, cols], float32 (Zhang & Sennrich 2019):
//   y = x / sqrt(mean(x^2) + eps) * weight
// One block an item, an item being one (row, group). The sum is taken in a fixed order: each thread its own elements,
// then a tree over the lanes, then over the warps; so runs agree bit for bit. Memory bound: x comes from DRAM once, the
// second pass finds it in L1 or L2.
#include "cuda/queue.h"

namespace nm::cuda {
namespace {

constexpr int kWarp = 32;

__device__ float warp_sum(float v) {
#pragma unroll
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(0xffffffffu, v, lanes);
  return v;
}

/** The sum of v over the block, in every thread. */
template <int kThreads>
__device__ float block_sum(float v) {
  v = warp_sum(v);
  if constexpr (kThreads == kWarp) return v;
  constexpr int kWarps = kThreads / kWarp;
  __shared__ float of_warp[kWarps];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  __syncthreads();  // the sums of the item before have been read
  if (lane == 0) of_warp[warp] = v;
  __syncthreads();
  return warp_sum(lane < kWarps ? of_warp[lane] : 0.0f);
}

// Not __restrict__: y may be x. Each thread writes only what it alone has read.
template <int kThreads>
__global__ void __launch_bounds__(kThreads) rms_norm_f32(nm_norm_args a) {
  const int64_t items = a.rows * a.groups;
  for (int64_t item = blockIdx.x; item < items; item += gridDim.x) {
    const int64_t row = item / a.groups, group = item % a.groups;
    const float* x = a.x + row * a.x_stride + group * a.cols;
    float* y = a.y + row * a.y_stride + group * a.cols;

    float squares = 0.0f;
    for (int64_t c = threadIdx.x; c < a.cols; c += kThreads) squares = fmaf(x[c], x[c], squares);
    const float mean = block_sum<kThreads>(squares) / static_cast<float>(a.cols);
    const float factor = 1.0f / sqrtf(mean + a.eps);
    for (int64_t c = threadIdx.x; c < a.cols; c += kThreads) {
      const float weight = a.weight != nullptr ? a.weight[c] : 1.0f;
      y[c] = x[c] * factor * weight;
    }
  }
}

}  // namespace

int32_t rms_norm(nm_cuda_queue* queue, const nm_norm_args* args) {
  if (const int32_t status = enter(queue); status != NM_OK) return status;
  const int64_t items = args->rows * args->groups;
  if (items == 0 || args->cols == 0) return NM_OK;
  constexpr int64_t kMostBlocks = 1 << 20;
  const auto blocks = static_cast<unsigned>(items < kMostBlocks ? items : kMostBlocks);
  // Heads are short (64 to 256): there a warp does, without a barrier.
  if (args->cols <= 256)
    rms_norm_f32<kWarp><<<blocks, kWarp, 0, queue->stream>>>(*args);
  else
    rms_norm_f32<256><<<blocks, 256, 0, queue->stream>>>(*args);
  NM_CUDA_TRY(cudaGetLastError());
  return NM_OK;
}

}  // namespace nm::cuda
