// All 256 values of each 8-bit float format.
#pragma once

namespace nm {
namespace numbers {

struct Table {
  float value[256];
};
extern const Table e4m3;
extern const Table e5m2;

}  // namespace numbers
}  // namespace nm
