// Network output -> image: pixel shuffle, de-normalise, clip, round and crop in one pass over the tensor.
//
// Bytes moved per output pixel: 3 * sizeof(Element) read, 3 * sizeof(Level) written (float32 to uint8: 15), once each.
// Gray: the same read, sizeof(Level) written.
#pragma once

#include <cstdint>

#include "instruction_set.h"

namespace srgan {

// Everything is checked by the caller: the region lies inside both the shuffled tensor and the image and is not empty;
// `channels` is 3 or 1.
template <class Element, class Level>
struct UnpackJob {
    const Element* tensor;  // (3 * shuffle * shuffle, tensor_height, tensor_width)
    int64_t tensor_height, tensor_width, shuffle;
    Level* image;  // (any, image_width, channels)
    int64_t image_width, channels;
    // All in output pixels: the region's origin in the shuffled tensor, its origin in the image, its size.
    int64_t top, left, y, x, height, width;
    float scale, bias;
};

// Returns how many of the region's values were not finite.
template <class Element, class Level>
int64_t unpack(const UnpackJob<Element, Level>& job, InstructionSet set);

}  // namespace srgan
