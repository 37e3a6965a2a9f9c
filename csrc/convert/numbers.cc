#include "convert/numbers.h"

#include "convert/tables.h"

namespace nm {
namespace numbers {
namespace {

constexpr Table table(uint32_t (*one)(uint32_t)) {
  Table t{};
  for (uint32_t i = 0; i < 256; i++) t.value[i] = std::bit_cast<float>(one(i));
  return t;
}

}  // namespace

constexpr Table e4m3 = table(f32_from_e4m3);
constexpr Table e5m2 = table(f32_from_e5m2);

}  // namespace numbers
}  // namespace nm
