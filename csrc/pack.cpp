#include "pack.h"

#include <algorithm>

#include "interleave.h"
#include "pixel_math.h"

namespace srgan {
namespace {

// Levels on their way from triples to planes; small enough to stay in the first-level cache.
constexpr int64_t chunk_pixels = 512;

template <class Level, class Element>
SRGAN_INLINE void levels_to_values(const Level* levels, Element* values, int64_t count, float scale, float bias) {
    for (int64_t i = 0; i < count; ++i) {
        values[i] = static_cast<Element>(level_to_value(levels[i], scale, bias));
    }
}

template <InstructionSet set, class Level, class Element>
SRGAN_INLINE void pack_inside(const PackJob<Level, Element>& job, const Level* pixels, Element* const planes[3],
                              int64_t count) {
    if (job.channels == 1) {
        levels_to_values(pixels, planes[0], count, job.scale, job.bias);
        std::copy_n(planes[0], count, planes[1]);
        std::copy_n(planes[0], count, planes[2]);
        return;
    }
    Level levels[3][chunk_pixels];
    for (int64_t start = 0; start < count; start += chunk_pixels) {
        const int64_t pixels_now = std::min(chunk_pixels, count - start);
        deinterleave3<set>(pixels + 3 * start, levels[0], levels[1], levels[2], pixels_now);
        for (int colour = 0; colour < 3; ++colour) {
            levels_to_values(levels[colour], planes[colour] + start, pixels_now, job.scale, job.bias);
        }
    }
}

template <InstructionSet set, class Level, class Element>
SRGAN_INLINE void pack_window(const PackJob<Level, Element>& job) {
    // A window that is wholly outside sees the border only, however far away it is.
    const int64_t origin_y = std::clamp(job.y, -job.height, job.image_height);
    const int64_t origin_x = std::clamp(job.x, -job.width, job.image_width);
    const int64_t inside_from = std::clamp(-origin_x, int64_t{0}, job.width);
    const int64_t inside_to = std::clamp(job.image_width - origin_x, int64_t{0}, job.width);
    const int64_t row_levels = job.image_width * job.channels;
    for (int64_t row = 0; row < job.height; ++row) {
        const int64_t image_row = std::clamp(origin_y + row, int64_t{0}, job.image_height - 1);
        const Level* const pixels = job.image + image_row * row_levels;
        Element* planes[3];
        for (int colour = 0; colour < 3; ++colour) {
            planes[colour] = job.tensor + (colour * job.height + row) * job.width;
            const int64_t channel = job.channels == 1 ? 0 : colour;
            const float first = level_to_value(pixels[channel], job.scale, job.bias);
            const float last = level_to_value(pixels[row_levels - job.channels + channel], job.scale, job.bias);
            std::fill(planes[colour], planes[colour] + inside_from, static_cast<Element>(first));
            std::fill(planes[colour] + inside_to, planes[colour] + job.width, static_cast<Element>(last));
            planes[colour] += inside_from;
        }
        if (inside_from < inside_to) {
            pack_inside<set>(job, pixels + (origin_x + inside_from) * job.channels, planes, inside_to - inside_from);
        }
    }
}

#if SRGAN_X86
template <class Level, class Element>
SRGAN_AVX2 void pack_avx2(const PackJob<Level, Element>& job) {
    pack_window<InstructionSet::avx2>(job);
}
#endif

}  // namespace

template <class Level, class Element>
void pack(const PackJob<Level, Element>& job, InstructionSet set) {
#if SRGAN_X86
    if (set == InstructionSet::avx2) {
        pack_avx2(job);
        return;
    }
#else
    static_cast<void>(set);
#endif
    pack_window<InstructionSet::baseline>(job);
}

template void pack(const PackJob<uint8_t, float>&, InstructionSet);
template void pack(const PackJob<uint16_t, float>&, InstructionSet);

}  // namespace srgan
