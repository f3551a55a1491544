// The arithmetic of one pixel, the same on every device: nvcc, NVRTC, g++ and clang++ compile these functions.
// Each result is fixed bit for bit: every product that is added to something is an explicit fmaf, so no compiler's
// choice to contract a*b+c matters. Include nothing here that NVRTC does not have.
#pragma once

#if !defined(__CUDACC_RTC__)
#include <math.h>
#include <string.h>
#endif

#if defined(__CUDACC__)
#define SRGAN_PIXEL __host__ __device__ __forceinline__
#else
#define SRGAN_PIXEL inline __attribute__((always_inline))
#endif

namespace srgan {

// Highest level of an image whose levels are stored as Level.
template <class Level>
SRGAN_PIXEL constexpr float highest_level() {
    static_assert(sizeof(Level) == 1 || sizeof(Level) == 2, "levels are 8 or 16 bits");
    return sizeof(Level) == 1 ? 255.0f : 65535.0f;
}

SRGAN_PIXEL unsigned int float_bits(float value) {
#if defined(__CUDA_ARCH__)
    return __float_as_uint(value);
#else
    unsigned int bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
#endif
}

// False for NaN and both infinities. Looks at the bits, so that no compiler flag can assume it away.
SRGAN_PIXEL bool is_finite(float value) {
    return (float_bits(value) & 0x7f800000u) != 0x7f800000u;
}

// Image level -> network value.
SRGAN_PIXEL float level_to_value(unsigned int level, float scale, float bias) {
    return fmaf(static_cast<float>(static_cast<int>(level)), scale, bias);
}

// Network value -> position on the scale of levels, clipped to 0..highest, not yet rounded. NaN gives 0.
// The comparisons are written so that NaN fails the first one, as maxps and minps do.
SRGAN_PIXEL float value_to_position(float value, float scale, float bias, float highest) {
    const float position = fmaf(value, scale, bias);
    const float not_negative = position > 0.0f ? position : 0.0f;
    return not_negative < highest ? not_negative : highest;
}

// Rounds half to even. Exact for 0 <= position < 2^22: adding 2^23 leaves no bits behind the point, and the sum's
// mantissa is the integer. (The default rounding mode is to nearest even, on every device.)
SRGAN_PIXEL unsigned int round_position(float position) {
    return float_bits(position + 8388608.0f) & 0x7fffffu;
}

SRGAN_PIXEL unsigned int value_to_level(float value, float scale, float bias, float highest) {
    return round_position(value_to_position(value, scale, bias, highest));
}

// BT.601 luma (ITU-R BT.601-7, 2.5.1) of three clipped positions, so that a gray picture is the gray of the colours
// that would have been stored, but rounded once. Clipped again: the weights' sum is 1 only up to rounding.
SRGAN_PIXEL float luma_of_positions(float red, float green, float blue, float highest) {
    const float luma = fmaf(0.299f, red, fmaf(0.587f, green, 0.114f * blue));
    return luma < highest ? luma : highest;
}

// Channel that holds a colour of the pixel in row a, column b of each r x r block (TensorFlow's depth_to_space).
SRGAN_PIXEL constexpr int phase_channel(int a, int b, int colour, int r) {
    return (a * r + b) * 3 + colour;
}

}  // namespace srgan
