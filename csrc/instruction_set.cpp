#include "instruction_set.h"

namespace srgan {

const char* name_of(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx2:
            return "avx2";
        case InstructionSet::baseline:
            break;
    }
    return "baseline";
}

std::vector<InstructionSet> instruction_sets() {
    std::vector<InstructionSet> sets;
#if SRGAN_X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        sets.push_back(InstructionSet::avx2);
    }
#endif
    sets.push_back(InstructionSet::baseline);
    return sets;
}

}  // namespace srgan
