// The kernels of csrc/*.cu as a shared library: for each kernel k,
//   void hostlaunch_k(const unsigned grid_block[6], void** arguments)   arguments as those of cuLaunchKernel
//   const unsigned hostparams_k[]                                       {count, size of the first, of the second, ...}
#include "cuda_host.h"

#include <tuple>
#include <type_traits>
#include <utility>

#include "pack.cu"
#include "unpack.cu"

namespace {

template <class... Parameters, size_t... i>
void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<i...>) {
    kernel(*static_cast<std::remove_cv_t<Parameters>*>(arguments[i])...);
}

template <class... Parameters>
void launch(void (*kernel)(Parameters...), const unsigned int* grid_block, void** arguments) {
    cuda_host::launch(grid_block, [=] { call(kernel, arguments, std::index_sequence_for<Parameters...>{}); });
}

template <class Kernel>
struct Sizes;

template <class... Parameters>
struct Sizes<void(Parameters...)> {
    unsigned int count = sizeof...(Parameters);
    unsigned int bytes[sizeof...(Parameters)] = {sizeof(Parameters)...};
};

}  // namespace

#define EXPORT(kernel)                                                                       \
    extern "C" void hostlaunch_##kernel(const unsigned int* grid_block, void** arguments) {  \
        launch(kernel, grid_block, arguments);                                               \
    }                                                                                        \
    extern "C" {                                                                             \
    extern const Sizes<decltype(kernel)> hostparams_##kernel;                                \
    const Sizes<decltype(kernel)> hostparams_##kernel{};                                     \
    }

EXPORT(pack_u8_f16)
EXPORT(pack_u8_f32)
EXPORT(pack_u16_f16)
EXPORT(pack_u16_f32)
EXPORT(unpack_f16_u8)
EXPORT(unpack_f16_u16)
EXPORT(unpack_f32_u8)
EXPORT(unpack_f32_u16)

extern "C" void hostcount_start() {
    cuda_host::machine.counts = {};
    cuda_host::machine.counting = true;
}

// {sectors read, sectors written, accesses of 16 bytes, all other accesses} since hostcount_start.
extern "C" void hostcount_stop(unsigned long long counts[4]) {
    const cuda_host::Counts& found = cuda_host::machine.counts;
    counts[0] = found.sectors_read;
    counts[1] = found.sectors_written;
    counts[2] = found.wide;
    counts[3] = found.narrow;
    cuda_host::machine.counting = false;
}
