#include "calibrate/gram_tiles_amx.h"

namespace nm {
namespace avx512_amx {

const GramTiles gram = {strip_bytes, prepare, multiply};

}  // namespace avx512_amx
}  // namespace nm
