// float16 for the CUDA kernels without cuda_fp16.h, which NVRTC alone does not bring along.
// Rounds to nearest even on the way in (beyond 65504: infinity), exact on the way out. A NaN stays a NaN.
#pragma once

#if !defined(__CUDACC__)
#include <string.h>
#endif

namespace srgan {

struct Half {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float value) {
    return value;
}

__device__ __forceinline__ float to_float(Half half) {
#if defined(__CUDACC__)
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half.bits));
    return value;
#else
    _Float16 value;
    memcpy(&value, &half, sizeof value);
    return static_cast<float>(value);
#endif
}

__device__ __forceinline__ void from_float(float value, float& element) {
    element = value;
}

__device__ __forceinline__ void from_float(float value, Half& element) {
#if defined(__CUDACC__)
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(element.bits) : "f"(value));
#else
    const _Float16 rounded = static_cast<_Float16>(value);
    memcpy(&element, &rounded, sizeof rounded);
#endif
}

}  // namespace srgan
