// One output row of a picture shuffled by r draws on 3r tensor rows; in the picture, the 3r levels of one tensor pixel
// lie side by side. So a row is 3r streams to interleave. For r = 1, 2, 4 the levels of r neighbouring streams are put
// together in one integer (a unit) while they are still in vector lanes, and what is left is to interleave three
// streams of units, which interleave.h does for every size of unit.
#include "unpack.h"

#include <algorithm>

#include "interleave.h"
#include "pixel_math.h"

namespace srgan {
namespace {

// Units on their way into the picture; small enough to stay in the first-level cache.
constexpr int64_t chunk_pixels = 512;

template <int size>
struct UnitOf;
template <>
struct UnitOf<1> { using type = uint8_t; };
template <>
struct UnitOf<2> { using type = uint16_t; };
template <>
struct UnitOf<4> { using type = uint32_t; };
template <>
struct UnitOf<8> { using type = uint64_t; };

// One row of the tensor at one phase row: stream k, k = 0 .. 3 * shuffle - 1, is `first + k * plane`.
template <class Element>
struct Streams {
    const Element* first;
    int64_t plane;
};

// Levels of `r` streams, side by side in each unit in the order of memory. Returns how many values were not finite.
template <int r, class Element, class Level, class Unit>
SRGAN_INLINE int64_t values_to_units(const Streams<Element>& from, const UnpackJob<Element, Level>& job, Unit* units,
                                     int64_t count) {
    const float scale = job.scale;
    const float bias = job.bias;
    const Element* const stream0 = from.first;
    const Element* const stream1 = from.first + (r > 1 ? 1 : 0) * from.plane;
    const Element* const stream2 = from.first + (r > 2 ? 2 : 0) * from.plane;
    const Element* const stream3 = from.first + (r > 2 ? 3 : 0) * from.plane;
    const Element* const streams[4] = {stream0, stream1, stream2, stream3};
    unsigned int not_finite = 0;
    for (int64_t i = 0; i < count; ++i) {
        Unit unit = 0;
        for (int k = 0; k < r; ++k) {
            const float value = static_cast<float>(streams[k][i]);
            const unsigned int level = value_to_level(value, scale, bias, highest_level<Level>());
            unit = static_cast<Unit>(unit | static_cast<Unit>(static_cast<Unit>(level) << (k * 8 * int{sizeof(Level)})));
            not_finite += is_finite(value) ? 0u : 1u;
        }
        units[i] = unit;
    }
    return not_finite;
}

template <class Element, class Level>
SRGAN_INLINE int64_t values_to_luma(const Streams<Element>& from, const UnpackJob<Element, Level>& job, Level* levels,
                                    int64_t count) {
    constexpr float highest = highest_level<Level>();
    const float scale = job.scale;
    const float bias = job.bias;
    const Element* const red = from.first;
    const Element* const green = red + from.plane;
    const Element* const blue = green + from.plane;
    unsigned int not_finite = 0;
    for (int64_t i = 0; i < count; ++i) {
        const float r = static_cast<float>(red[i]);
        const float g = static_cast<float>(green[i]);
        const float b = static_cast<float>(blue[i]);
        const float luma = luma_of_positions(value_to_position(r, scale, bias, highest),
                                             value_to_position(g, scale, bias, highest),
                                             value_to_position(b, scale, bias, highest), highest);
        levels[i] = static_cast<Level>(round_position(luma));
        not_finite += (is_finite(r) ? 0u : 1u) + (is_finite(g) ? 0u : 1u) + (is_finite(b) ? 0u : 1u);
    }
    return not_finite;
}

// Whole tensor pixels of one row, colour, r = 1, 2 or 4.
template <InstructionSet set, int r, class Element, class Level>
SRGAN_INLINE int64_t colour_by_units(const UnpackJob<Element, Level>& job, const Streams<Element>& from, Level* out,
                                     int64_t count) {
    using Unit = typename UnitOf<r * int{sizeof(Level)}>::type;
    alignas(64) Unit units[3][chunk_pixels];
    int64_t not_finite = 0;
    for (int64_t start = 0; start < count; start += chunk_pixels) {
        const int64_t now = std::min(chunk_pixels, count - start);
        for (int part = 0; part < 3; ++part) {
            const Streams<Element> streams{from.first + part * r * from.plane + start, from.plane};
            not_finite += values_to_units<r>(streams, job, units[part], now);
        }
        interleave3<set>(units[0], units[1], units[2], reinterpret_cast<unsigned char*>(out + start * 3 * r), now);
    }
    return not_finite;
}

// Whole tensor pixels of one row, colour, any r: stream by stream.
template <class Element, class Level>
SRGAN_INLINE int64_t colour_by_streams(const UnpackJob<Element, Level>& job, const Streams<Element>& from, Level* out,
                                       int64_t count) {
    alignas(64) Level levels[chunk_pixels];
    const int64_t streams = 3 * job.shuffle;
    int64_t not_finite = 0;
    for (int64_t start = 0; start < count; start += chunk_pixels) {
        const int64_t now = std::min(chunk_pixels, count - start);
        for (int64_t k = 0; k < streams; ++k) {
            not_finite += values_to_units<1>(Streams<Element>{from.first + k * from.plane + start, from.plane}, job,
                                             levels, now);
            Level* const to = out + start * streams + k;
            for (int64_t i = 0; i < now; ++i) {
                to[i * streams] = levels[i];
            }
        }
    }
    return not_finite;
}

// Whole tensor pixels of one row, gray, any r.
template <class Element, class Level>
SRGAN_INLINE int64_t gray_by_streams(const UnpackJob<Element, Level>& job, const Streams<Element>& from, Level* out,
                                     int64_t count) {
    alignas(64) Level levels[chunk_pixels];
    const int64_t r = job.shuffle;
    int64_t not_finite = 0;
    for (int64_t start = 0; start < count; start += chunk_pixels) {
        const int64_t now = std::min(chunk_pixels, count - start);
        for (int64_t b = 0; b < r; ++b) {
            not_finite += values_to_luma(Streams<Element>{from.first + 3 * b * from.plane + start, from.plane}, job,
                                         levels, now);
            Level* const to = out + start * r + b;
            for (int64_t i = 0; i < now; ++i) {
                to[i * r] = levels[i];
            }
        }
    }
    return not_finite;
}

template <InstructionSet set, class Element, class Level>
SRGAN_INLINE int64_t whole_pixels(const UnpackJob<Element, Level>& job, const Streams<Element>& from, Level* out,
                                  int64_t count) {
    if (job.channels == 1) {
        return gray_by_streams(job, from, out, count);
    }
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    switch (job.shuffle) {
        case 1:
            return colour_by_units<set, 1>(job, from, out, count);
        case 2:
            return colour_by_units<set, 2>(job, from, out, count);
        case 4:
            return colour_by_units<set, 4>(job, from, out, count);
        default:
            break;
    }
#endif
    return colour_by_streams(job, from, out, count);
}

// Output columns [from_column, to_column) that are only a part of a tensor pixel: the crop's left and right ends.
template <class Element, class Level>
SRGAN_INLINE int64_t part_of_pixel(const UnpackJob<Element, Level>& job, const Element* row, int64_t plane, Level* out,
                                   int64_t from_column, int64_t to_column) {
    int64_t not_finite = 0;
    for (int64_t column = from_column; column < to_column; ++column) {
        const int64_t b = column % job.shuffle;
        const Streams<Element> streams{row + 3 * b * plane + column / job.shuffle, plane};
        if (job.channels == 1) {
            not_finite += values_to_luma(streams, job, out, 1);
        } else {
            for (int colour = 0; colour < 3; ++colour) {
                not_finite += values_to_units<1>(Streams<Element>{streams.first + colour * plane, plane}, job,
                                                 out + colour, 1);
            }
        }
        out += job.channels;
    }
    return not_finite;
}

template <InstructionSet set, class Element, class Level>
SRGAN_INLINE int64_t unpack_region(const UnpackJob<Element, Level>& job) {
    const int64_t r = job.shuffle;
    const int64_t plane = job.tensor_height * job.tensor_width;
    const int64_t right = job.left + job.width;
    // Tensor pixels [whole_from, whole_to) lie wholly in the region; if there are none, all of it is the left end.
    const int64_t whole_from = (job.left + r - 1) / r;
    const int64_t whole_to = right / r;
    const bool any_whole = whole_from < whole_to;
    const int64_t left_end = any_whole ? whole_from * r : right;
    const int64_t right_start = any_whole ? whole_to * r : right;
    int64_t not_finite = 0;
    for (int64_t line = 0; line < job.height; ++line) {
        const int64_t a = (job.top + line) % r;
        const int64_t tensor_row = (job.top + line) / r;
        const Element* const row = job.tensor + 3 * a * r * plane + tensor_row * job.tensor_width;
        Level* const out = job.image + ((job.y + line) * job.image_width + job.x) * job.channels;
        not_finite += part_of_pixel(job, row, plane, out, job.left, left_end);
        if (any_whole) {
            not_finite += whole_pixels<set>(job, Streams<Element>{row + whole_from, plane},
                                            out + (left_end - job.left) * job.channels, whole_to - whole_from);
            not_finite += part_of_pixel(job, row, plane, out + (right_start - job.left) * job.channels, right_start,
                                        right);
        }
    }
    return not_finite;
}

#if SRGAN_X86
template <class Element, class Level>
SRGAN_AVX2 int64_t unpack_avx2(const UnpackJob<Element, Level>& job) {
    return unpack_region<InstructionSet::avx2>(job);
}
#endif

}  // namespace

template <class Element, class Level>
int64_t unpack(const UnpackJob<Element, Level>& job, InstructionSet set) {
#if SRGAN_X86
    if (set == InstructionSet::avx2) {
        return unpack_avx2(job);
    }
#else
    static_cast<void>(set);
#endif
    return unpack_region<InstructionSet::baseline>(job);
}

template int64_t unpack(const UnpackJob<float, uint8_t>&, InstructionSet);
template int64_t unpack(const UnpackJob<float, uint16_t>&, InstructionSet);

}  // namespace srgan
