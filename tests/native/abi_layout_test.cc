// The structs of the C ABI: the rules of the header hold, and the compiled library agrees on the sizes. With --print,
// sizes and offsets for BindingsDriftTest, which compares them with the Java bindings.
#include <cstring>

#include "harness.h"

namespace nmtest {
int run_all(int argc, char** argv);
}

namespace {

struct Field {
  const char* structure;
  const char* name;  // "" = the struct itself
  size_t offset, size;
};

const Field kFields[] = {
#define NM_STRUCT(s) {#s, "", 0, sizeof(s)},
#define NM_FIELD(s, f) {#s, #f, offsetof(s, f), sizeof(s::f)},
#include "abi_layout.inc"
#undef NM_STRUCT
#undef NM_FIELD
};

void print_layouts() {
  for (const Field& f : kFields) {
    if (f.name[0] == '\0')
      std::printf("%s %zu\n", f.structure, f.size);
    else
      std::printf("%s.%s %zu %zu\n", f.structure, f.name, f.offset, f.size);
  }
}

}  // namespace

NM_TEST(every_struct_begins_with_struct_size_and_has_no_hidden_padding) {
  // Padding would be memory that nobody sets and that a field added later could fall into.
  const Field* structure = nullptr;
  size_t end = 0;
  const auto finish = [&] {
    if (structure != nullptr)
      NM_CHECK_MSG(end == structure->size, "%s: fields end at %zu, size is %zu: add a reserved field",
                   structure->structure, end, structure->size);
  };
  for (const Field& f : kFields) {
    if (f.name[0] == '\0') {
      finish();
      structure = &f;
      end = 0;
      continue;
    }
    if (end == 0)
      NM_CHECK_MSG(std::strcmp(f.name, "struct_size") == 0 && f.size == 4, "%s begins with %s", f.structure, f.name);
    NM_CHECK_MSG(f.offset == end, "%s.%s: at %zu, the field before ends at %zu: add a reserved field", f.structure,
                 f.name, f.offset, end);
    end = f.offset + f.size;
  }
  finish();
}

NM_TEST(the_library_takes_structs_of_this_size_only) {
  nm_cpu_info cpu = {};
  for (const size_t size : {size_t{0}, sizeof cpu - 4, sizeof cpu + 4}) {
    cpu.struct_size = static_cast<uint32_t>(size);
    NM_REFUSED(nm_cpu_query(&cpu), NM_ERR_STRUCT_SIZE, "struct_size");
  }
  cpu.struct_size = sizeof cpu;
  NM_OK_CALL(nm_cpu_query(&cpu));
}

int main(int argc, char** argv) {
  if (argc == 2 && std::strcmp(argv[1], "--print") == 0) {
    print_layouts();
    return 0;
  }
  return nmtest::run_all(argc, argv);
}
