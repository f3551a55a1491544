// Image -> network input: one window of the picture, borders repeated, as planes of network values.
//
// Bytes moved per window pixel, colour: 3 * sizeof(Level) read, 3 * sizeof(Element) written (uint8 to float32: 15).
// Gray: sizeof(Level) read, the same written.
#pragma once

#include <cstdint>

#include "instruction_set.h"

namespace srgan {

// Everything is checked by the caller: all sizes are at least 1, `channels` is 3 or 1.
template <class Level, class Element>
struct PackJob {
    const Level* image;  // (image_height, image_width, channels)
    int64_t image_height, image_width, channels;
    Element* tensor;  // (3, height, width)
    int64_t height, width;
    int64_t y, x;  // origin of the window in the image; any value
    float scale, bias;
};

template <class Level, class Element>
void pack(const PackJob<Level, Element>& job, InstructionSet set);

}  // namespace srgan
