#include "convert/convert_simd.h"
