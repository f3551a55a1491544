// Lets g++ compile our CUDA kernels for tests: what they use of CUDA, on the host.
//
// Each thread of a block is a fibre, so waiting is real: a fibre that waits for others is left until they wait too. A
// wait that can never end, because a named lane has returned or waits elsewhere, ends the process with a message.
// Blocks run one after another, launches too (one mutex). A thread runs until it waits; in odd blocks the last one
// begins. So a forgotten wait, or one for too few, shows as a wrong result.
//
// Global accesses that the kernels announce (SRGAN_ON_READ, SRGAN_ON_WRITE) are checked for alignment, and counted in
// sectors of 32 bytes while counting is on.
#pragma once

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_set>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__ static
#define __launch_bounds__(...)

struct alignas(16) uint4 {
    unsigned int x, y, z, w;
};

inline uint4 make_uint4(unsigned int x, unsigned int y, unsigned int z, unsigned int w) {
    return {x, y, z, w};
}

struct Dimensions {
    unsigned int x, y, z;
};

namespace cuda_host {

[[noreturn]] inline void fail(const char* message) {
    fprintf(stderr, "cuda_host: %s\n", message);
    abort();
}

constexpr unsigned int warp_lanes = 32;
constexpr size_t stack_bytes = size_t{64} << 10;

enum class State { ready, at_block_barrier, at_warp_barrier, returned };

struct Fibre {
    ucontext_t context;
    void* stack = nullptr;
    void* sanitizer_stack = nullptr;
    Dimensions thread;
    unsigned int index;  // in the block
    unsigned int mask;   // of the warp barrier it waits at
    State state = State::returned;

    Fibre() : stack(mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
        if (stack == MAP_FAILED) {
            fail("no memory for a thread's stack");
        }
    }
    Fibre(const Fibre&) = delete;
    Fibre& operator=(const Fibre&) = delete;
    ~Fibre() { munmap(stack, stack_bytes); }

    unsigned int lane_bit() const { return 1u << (index % warp_lanes); }
};

struct Counts {
    unsigned long long sectors_read = 0;     // distinct in each block, summed over blocks
    unsigned long long sectors_written = 0;  // the same
    unsigned long long wide = 0;             // accesses of 16 bytes
    unsigned long long narrow = 0;           // all others
};

// The launch that is going on. Fibres are kept from launch to launch.
struct Machine {
    std::mutex mutex;
    ucontext_t scheduler;
    const void* scheduler_stack = nullptr;
    size_t scheduler_stack_bytes = 0;
    void* scheduler_sanitizer_stack = nullptr;
    std::vector<std::unique_ptr<Fibre>> fibres;
    Fibre* running = nullptr;
    Dimensions block, grid, threads;
    std::function<void()> kernel;
    bool counting = false;
    Counts counts;
    std::unordered_set<uintptr_t> read, written;  // sectors of this block
};

inline Machine machine;

// The sanitizer has to be told when the stack changes.
inline void before_switch([[maybe_unused]] void** save, [[maybe_unused]] const void* stack,
                          [[maybe_unused]] size_t bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(save, stack, bytes);
#endif
}

inline void after_switch([[maybe_unused]] void* saved, [[maybe_unused]] const void** stack,
                         [[maybe_unused]] size_t* bytes) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(saved, stack, bytes);
#endif
}

inline void to_scheduler() {
    Fibre& self = *machine.running;
    before_switch(&self.sanitizer_stack, machine.scheduler_stack, machine.scheduler_stack_bytes);
    swapcontext(&self.context, &machine.scheduler);
    after_switch(self.sanitizer_stack, &machine.scheduler_stack, &machine.scheduler_stack_bytes);
}

inline void to_fibre(Fibre& fibre) {
    machine.running = &fibre;
    before_switch(&machine.scheduler_sanitizer_stack, fibre.stack, stack_bytes);
    swapcontext(&machine.scheduler, &fibre.context);
    after_switch(machine.scheduler_sanitizer_stack, nullptr, nullptr);
    machine.running = nullptr;
}

// A fibre lives on after its thread has returned, and is the same thread of the next block.
inline void live() {
    after_switch(nullptr, &machine.scheduler_stack, &machine.scheduler_stack_bytes);
    for (;;) {
        machine.kernel();
        machine.running->state = State::returned;
        to_scheduler();
    }
}

inline Fibre& fibre_at(unsigned int index) {
    while (machine.fibres.size() <= index) {
        machine.fibres.push_back(std::make_unique<Fibre>());
        Fibre& fibre = *machine.fibres.back();
        fibre.index = static_cast<unsigned int>(machine.fibres.size()) - 1;
        getcontext(&fibre.context);
        fibre.context.uc_stack.ss_sp = fibre.stack;
        fibre.context.uc_stack.ss_size = stack_bytes;
        fibre.context.uc_link = nullptr;
        makecontext(&fibre.context, live, 0);
    }
    return *machine.fibres[index];
}

inline void wait(State barrier, unsigned int mask) {
    Fibre& self = *machine.running;
    if (barrier == State::at_warp_barrier && (mask & self.lane_bit()) == 0) {
        fail("__syncwarp by a lane that its mask does not name");
    }
    self.state = barrier;
    self.mask = mask;
    to_scheduler();
}

// Lets the lanes of the warp barrier that this fibre waits at go on, if they are all there.
inline void release_lanes(const Fibre& fibre, unsigned int threads) {
    const unsigned int warp = fibre.index / warp_lanes * warp_lanes;
    const unsigned int mask = fibre.mask;
    unsigned int here = 0;
    for (unsigned int i = warp; i < warp + warp_lanes && i < threads; ++i) {
        const Fibre& other = *machine.fibres[i];
        here |= other.state == State::at_warp_barrier && other.mask == mask ? other.lane_bit() : 0u;
    }
    if ((here & mask) != mask) {
        return;
    }
    for (unsigned int i = warp; i < warp + warp_lanes && i < threads; ++i) {
        Fibre& other = *machine.fibres[i];
        if ((mask & other.lane_bit()) != 0) {
            other.state = State::ready;
        }
    }
}

// Takes each fibre as far as it comes before the next one starts, so that what is not waited for is not there yet.
inline void run_warp(unsigned int warp, unsigned int threads, bool backwards) {
    const unsigned int lanes = threads - warp < warp_lanes ? threads - warp : warp_lanes;
    for (unsigned int i = 0; i < lanes;) {
        Fibre& fibre = *machine.fibres[warp + (backwards ? lanes - 1 - i : i)];
        if (fibre.state != State::ready) {
            ++i;
            continue;
        }
        to_fibre(fibre);
        if (fibre.state == State::at_warp_barrier) {
            release_lanes(fibre, threads);
        }
        i = 0;
    }
}

// Lets all go on if all that have not returned wait for the block. False if all have returned.
inline bool release_block(unsigned int threads) {
    bool any = false;
    for (unsigned int i = 0; i < threads; ++i) {
        Fibre& fibre = *machine.fibres[i];
        if (fibre.state == State::at_warp_barrier) {
            fail("threads wait for each other for ever");
        }
        if (fibre.state == State::at_block_barrier) {
            fibre.state = State::ready;
            any = true;
        }
    }
    return any;
}

inline void run_block(unsigned int threads, bool backwards) {
    for (unsigned int i = 0; i < threads; ++i) {
        Fibre& fibre = *machine.fibres[i];
        fibre.thread = {i % machine.threads.x, i / machine.threads.x % machine.threads.y,
                        i / machine.threads.x / machine.threads.y};
        fibre.state = State::ready;
    }
    const unsigned int warps = (threads + warp_lanes - 1) / warp_lanes;
    do {
        for (unsigned int i = 0; i < warps; ++i) {
            run_warp((backwards ? warps - 1 - i : i) * warp_lanes, threads, backwards);
        }
    } while (release_block(threads));
}

inline void launch(const unsigned int grid_block[6], std::function<void()> kernel) {
    const std::lock_guard<std::mutex> lock(machine.mutex);
    machine.grid = {grid_block[0], grid_block[1], grid_block[2]};
    machine.threads = {grid_block[3], grid_block[4], grid_block[5]};
    machine.kernel = std::move(kernel);
    const unsigned int threads = machine.threads.x * machine.threads.y * machine.threads.z;
    if (threads == 0 || threads > 1024) {
        fail("a block has 1 to 1024 threads");
    }
    fibre_at(threads - 1);
    unsigned int number = 0;
    for (unsigned int z = 0; z < machine.grid.z; ++z) {
        for (unsigned int y = 0; y < machine.grid.y; ++y) {
            for (unsigned int x = 0; x < machine.grid.x; ++x) {
                machine.block = {x, y, z};
                run_block(threads, number++ % 2 == 1);
                machine.counts.sectors_read += machine.read.size();
                machine.counts.sectors_written += machine.written.size();
                machine.read.clear();
                machine.written.clear();
            }
        }
    }
}

inline void touch(const void* address, size_t bytes, std::unordered_set<uintptr_t>& sectors) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(address);
    if (at % bytes != 0) {
        fail("a misaligned access to global memory");
    }
    if (machine.counting) {
        ++(bytes == 16 ? machine.counts.wide : machine.counts.narrow);
        sectors.insert(at / 32);
    }
}

}  // namespace cuda_host

#define threadIdx (cuda_host::machine.running->thread)
#define blockIdx (cuda_host::machine.block)
#define blockDim (cuda_host::machine.threads)
#define gridDim (cuda_host::machine.grid)

#define SRGAN_ON_READ(address, bytes) cuda_host::touch(address, bytes, cuda_host::machine.read)
#define SRGAN_ON_WRITE(address, bytes) cuda_host::touch(address, bytes, cuda_host::machine.written)

inline void __syncthreads() {
    cuda_host::wait(cuda_host::State::at_block_barrier, 0);
}

inline void __syncwarp(unsigned int mask = 0xffffffffu) {
    cuda_host::wait(cuda_host::State::at_warp_barrier, mask);
}

template <class Value>
inline Value atomicAdd(Value* address, Value value) {
    const Value before = *address;
    *address += value;
    return before;
}
