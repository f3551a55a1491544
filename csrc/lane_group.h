// What the CUDA kernels share: the lanes that work on one row together, and their accesses to global memory.
#pragma once

// The host build of the tests counts the accesses here.
#if !defined(SRGAN_ON_READ)
#define SRGAN_ON_READ(address, bytes)
#define SRGAN_ON_WRITE(address, bytes)
#endif

namespace srgan {

// A global access of this many bytes, aligned to as many, is the widest there is.
constexpr int chunk_bytes = 16;
// Global memory moves in sectors of this many bytes.
constexpr int sector_bytes = 32;

// 16 bytes of global memory and the values in them.
template <class Value>
union Chunk {
    uint4 words;
    Value values[chunk_bytes / int{sizeof(Value)}];
};

template <class Value>
__device__ __forceinline__ Value read_value(const Value* from) {
    SRGAN_ON_READ(from, sizeof(Value));
    return *from;
}

template <class Value>
__device__ __forceinline__ void write_value(Value* to, Value value) {
    SRGAN_ON_WRITE(to, sizeof(Value));
    *to = value;
}

template <class Value>
__device__ __forceinline__ uint4 read_words(const Value* from) {
    SRGAN_ON_READ(from, chunk_bytes);
    return *reinterpret_cast<const uint4*>(from);
}

template <class Value>
__device__ __forceinline__ void write_words(Value* to, uint4 words) {
    SRGAN_ON_WRITE(to, chunk_bytes);
    *reinterpret_cast<uint4*>(to) = words;
}

// Values from the last multiple of `bytes` up to the address.
template <int bytes, class Value>
__device__ __forceinline__ int values_past(const Value* address) {
    return static_cast<int>(reinterpret_cast<size_t>(address) % bytes / sizeof(Value));
}

__device__ __forceinline__ long long clamp(long long value, long long lowest, long long highest) {
    return value < lowest ? lowest : value > highest ? highest : value;
}

__device__ __forceinline__ int clamp(int value, int lowest, int highest) {
    return value < lowest ? lowest : value > highest ? highest : value;
}

// A run of values in global memory, cut where 16-byte accesses begin and end:
// [0, head) single values, [head, tail) whole chunks, [tail, count) single values.
struct Run {
    int head, tail, count;
};

template <class Value>
__device__ __forceinline__ Run run_at(const Value* first, int count) {
    constexpr int per_chunk = chunk_bytes / int{sizeof(Value)};
    const int to_chunk = (per_chunk - values_past<chunk_bytes>(first)) % per_chunk;
    const int head = to_chunk < count ? to_chunk : count;
    return {head, head + (count - head) / per_chunk * per_chunk, count};
}

// The blockDim.x lanes with one threadIdx.y: 8, 16 or 32, so they are part of one warp and wait for each other only.
// All of them take the same way through loops that hold a wait().
struct LaneGroup {
    int lane, lanes;
    int index;  // of the group in its block
    unsigned int mask;

    __device__ __forceinline__ LaneGroup()
        : lane(static_cast<int>(threadIdx.x)),
          lanes(static_cast<int>(blockDim.x)),
          index(static_cast<int>(threadIdx.y)),
          mask((0xffffffffu >> (32u - blockDim.x)) << (threadIdx.y * blockDim.x % 32u)) {}

    // Until every lane is here; what they wrote to shared memory before is then seen by all.
    __device__ __forceinline__ void wait() const { __syncwarp(mask); }
};

}  // namespace srgan
