#include "activation/activation_f32_simd.h"
