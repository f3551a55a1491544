// Which instructions a kernel may use. Wheels run on any CPU of their architecture, so every kernel is compiled for
// the architecture's baseline, and on x86-64 once more for AVX2 + FMA (2013 and later); the choice is made per call.
//
// AVX-512 was measured and left out: it takes unpack of a 384x384 tile from 0.095 to 0.062 ms (whole 1920x1280 picture,
// bound by memory: 2.7 to 2.4 ms), while the network takes 10 ms for the tile. Threads inside a kernel were left out for
// the same reason: starting one costs as much as a tile, and tiles already run on several threads.
#pragma once

#include <vector>

#if defined(__x86_64__) && defined(__GNUC__)
#define SRGAN_X86 1
#define SRGAN_AVX2 __attribute__((target("avx2,fma")))
#else
#define SRGAN_X86 0
#endif

// A function without a target of its own may be inlined into one with a target; then it is compiled for that one.
#define SRGAN_INLINE inline __attribute__((always_inline))

namespace srgan {

enum class InstructionSet { baseline, avx2 };

const char* name_of(InstructionSet set);

// Those that this CPU runs, the fastest first.
const std::vector<InstructionSet>& instruction_sets();

}  // namespace srgan
