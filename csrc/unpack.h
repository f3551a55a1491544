// Network output -> image: pixel shuffle, de-normalise, clip, round and crop in one pass over the tensor.
//
// Bytes moved per output pixel: 3 * sizeof(Element) read, 3 * sizeof(Level) written (float32 to uint8: 15), once each.
// Gray: the same read, sizeof(Level) written.
#pragma once

#include <cstdint>

#include "instruction_set.h"

namespace srgan {

// All in output pixels: origin in the shuffled tensor, origin in the image, size.
struct UnpackRegion {
    int64_t top, left;
    int64_t y, x;
    int64_t height, width;
};

// Everything is checked by the caller: the region lies inside both the shuffled tensor and the image and is not empty;
// `channels` is 3 or 1.
template <class Element, class Level>
struct UnpackJob {
    const Element* tensor;  // (3 * shuffle * shuffle, tensor_height, tensor_width)
    int64_t tensor_height, tensor_width;
    int shuffle;
    Level* image;  // (any, image_width, channels)
    int64_t image_width, channels;
    UnpackRegion region;
    float scale, bias;

    // Elements from one channel to the next.
    int64_t plane() const { return tensor_height * tensor_width; }
};

// Returns how many of the region's values were not finite.
template <class Element, class Level>
int64_t unpack(const UnpackJob<Element, Level>& job, InstructionSet set);

}  // namespace srgan
