// What pack and unpack do for one tile of a picture; a table of these lies on the device beside the picture.
// The host writes it as rows of eight int32 (srgan_trt/runtime/gpu/launch_geometry.py names them). NVRTC compiles this.
#pragma once

namespace srgan {

struct TileJob {
    // Origin of the window in the picture, in the picture's pixels; any value: coordinates are clamped to the picture.
    int y, x;
    // Region of the output, in output pixels, as UnpackRegion in unpack.h: origin in the shuffled tensor, origin in the
    // canvas, size. It lies inside both (the host checks it); a size of 0 writes nothing.
    int top, left;
    int out_y, out_x;
    int out_height, out_width;
};

static_assert(sizeof(TileJob) == 32, "the host writes rows of 32 bytes");

}  // namespace srgan
