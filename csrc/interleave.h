// Three streams of units <-> one stream of triples. A unit is a level, or the levels of one colour phase that lie
// side by side in the picture (see unpack.cpp). Bytes moved per triple: 3 units read, 3 units written.
#pragma once

#include <cstdint>
#include <cstring>

#include "instruction_set.h"

#if SRGAN_X86
#include <immintrin.h>
#endif

namespace srgan {

// out may have any alignment: it is a place inside a picture.
template <class Unit>
SRGAN_INLINE void interleave3_plain(const Unit* first, const Unit* second, const Unit* third, unsigned char* out,
                                    int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        const Unit triple[3] = {first[i], second[i], third[i]};
        std::memcpy(out + i * int64_t{sizeof triple}, triple, sizeof triple);
    }
}

template <class Unit>
SRGAN_INLINE void deinterleave3_plain(const Unit* in, Unit* first, Unit* second, Unit* third, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
        first[i] = in[3 * i];
        second[i] = in[3 * i + 1];
        third[i] = in[3 * i + 2];
    }
}

#if SRGAN_X86

// Byte shuffles between three 16-byte vectors and 48 bytes of triples of units of `size` bytes. masks[to][from] moves
// the bytes that vector `to` takes from vector `from`, and zeroes the others.
struct ShuffleMasks {
    alignas(16) unsigned char masks[3][3][16];
};

constexpr ShuffleMasks interleaving_masks(int size) {
    ShuffleMasks result{};
    for (int to = 0; to < 48; ++to) {
        const int unit = to / size;
        const int from = unit / 3 * size + to % size;
        for (int stream = 0; stream < 3; ++stream) {
            result.masks[to / 16][stream][to % 16] =
                static_cast<unsigned char>(unit % 3 == stream ? from : 0x80);
        }
    }
    return result;
}

constexpr ShuffleMasks deinterleaving_masks(int size) {
    ShuffleMasks result{};
    for (int stream = 0; stream < 3; ++stream) {
        for (int to = 0; to < 16; ++to) {
            const int from = (to / size * 3 + stream) * size + to % size;
            for (int vector = 0; vector < 3; ++vector) {
                result.masks[stream][vector][to] =
                    static_cast<unsigned char>(from / 16 == vector ? from % 16 : 0x80);
            }
        }
    }
    return result;
}

SRGAN_AVX2 inline __m128i shuffle3(const unsigned char (&masks)[3][16], __m128i a, __m128i b, __m128i c) {
    const auto* mask = reinterpret_cast<const __m128i*>(masks);
    return _mm_or_si128(_mm_or_si128(_mm_shuffle_epi8(a, _mm_load_si128(mask)),
                                     _mm_shuffle_epi8(b, _mm_load_si128(mask + 1))),
                        _mm_shuffle_epi8(c, _mm_load_si128(mask + 2)));
}

template <class Unit>
SRGAN_AVX2 void interleave3_avx2(const Unit* first, const Unit* second, const Unit* third, unsigned char* out,
                                 int64_t count) {
    static constexpr ShuffleMasks shuffle = interleaving_masks(sizeof(Unit));
    constexpr int64_t step = 16 / sizeof(Unit);
    int64_t i = 0;
    for (; i + step <= count; i += step) {
        const __m128i a = _mm_loadu_si128(reinterpret_cast<const __m128i*>(first + i));
        const __m128i b = _mm_loadu_si128(reinterpret_cast<const __m128i*>(second + i));
        const __m128i c = _mm_loadu_si128(reinterpret_cast<const __m128i*>(third + i));
        auto* to = reinterpret_cast<__m128i*>(out + i * int64_t{3 * sizeof(Unit)});
        for (int vector = 0; vector < 3; ++vector) {
            _mm_storeu_si128(to + vector, shuffle3(shuffle.masks[vector], a, b, c));
        }
    }
    interleave3_plain(first + i, second + i, third + i, out + i * int64_t{3 * sizeof(Unit)}, count - i);
}

template <class Unit>
SRGAN_AVX2 void deinterleave3_avx2(const Unit* in, Unit* first, Unit* second, Unit* third, int64_t count) {
    static constexpr ShuffleMasks shuffle = deinterleaving_masks(sizeof(Unit));
    constexpr int64_t step = 16 / sizeof(Unit);
    Unit* const streams[3] = {first, second, third};
    int64_t i = 0;
    for (; i + step <= count; i += step) {
        const auto* from = reinterpret_cast<const __m128i*>(in + 3 * i);
        const __m128i a = _mm_loadu_si128(from);
        const __m128i b = _mm_loadu_si128(from + 1);
        const __m128i c = _mm_loadu_si128(from + 2);
        for (int stream = 0; stream < 3; ++stream) {
            _mm_storeu_si128(reinterpret_cast<__m128i*>(streams[stream] + i),
                             shuffle3(shuffle.masks[stream], a, b, c));
        }
    }
    deinterleave3_plain(in + 3 * i, first + i, second + i, third + i, count - i);
}

#endif  // SRGAN_X86

template <InstructionSet set, class Unit>
SRGAN_INLINE void interleave3(const Unit* first, const Unit* second, const Unit* third, unsigned char* out,
                              int64_t count) {
#if SRGAN_X86
    if constexpr (set == InstructionSet::avx2) {
        interleave3_avx2(first, second, third, out, count);
        return;
    }
#endif
    interleave3_plain(first, second, third, out, count);
}

template <InstructionSet set, class Unit>
SRGAN_INLINE void deinterleave3(const Unit* in, Unit* first, Unit* second, Unit* third, int64_t count) {
#if SRGAN_X86
    if constexpr (set == InstructionSet::avx2) {
        deinterleave3_avx2(in, first, second, third, count);
        return;
    }
#endif
    deinterleave3_plain(in, first, second, third, count);
}

}  // namespace srgan
