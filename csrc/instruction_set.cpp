#include "instruction_set.h"

#if SRGAN_X86
#include <cpuid.h>
#endif

namespace srgan {
namespace {

#if SRGAN_X86
// Whether the CPU has AVX2 and FMA and the system keeps the registers' upper halves (Intel's manual, volume 1, 14.3
// and 14.7.1). Asked of the CPU itself: __builtin_cpu_supports is always false in what zig's compiler links.
bool has_avx2() {
    constexpr unsigned int fma = 1u << 12;
    constexpr unsigned int osxsave = 1u << 27;
    constexpr unsigned int avx2 = 1u << 5;
    constexpr unsigned int sse_and_avx_state = 6;
    unsigned int a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & fma) == 0 || (c & osxsave) == 0) {
        return false;
    }
    unsigned int kept = 0, upper = 0;
    __asm__("xgetbv" : "=a"(kept), "=d"(upper) : "c"(0));
    if ((kept & sse_and_avx_state) != sse_and_avx_state) {
        return false;
    }
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & avx2) != 0;
}
#endif

std::vector<InstructionSet> found() {
#if SRGAN_X86
    if (has_avx2()) {
        return {InstructionSet::avx2, InstructionSet::baseline};
    }
#endif
    return {InstructionSet::baseline};
}

}  // namespace

const char* name_of(InstructionSet set) {
    switch (set) {
        case InstructionSet::avx2:
            return "avx2";
        case InstructionSet::baseline:
            break;
    }
    return "baseline";
}

const std::vector<InstructionSet>& instruction_sets() {
    static const std::vector<InstructionSet> sets = found();
    return sets;
}

}  // namespace srgan
