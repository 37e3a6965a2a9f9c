#include "attention/attention_f32_simd.h"
