// Picture -> network input: windows of the picture on the device, borders repeated, as planes of network values.
// Results as those of pack.cpp, bit for bit; float16 is the float32 result rounded to nearest even.
//
// Bytes moved per window pixel, colour: 3 * sizeof(Level) read, 3 * sizeof(Element) written (uint8 to float16: 9).
// Gray: sizeof(Level) read, the same written (uint8 to float16: 7). The pixels outside the picture cost no read.
//
// One group of lanes makes one segment of a row: it copies the segment's pixels into shared memory as they lie, 16
// bytes a lane (of the same sectors: what lies beside the segment is not looked at), and takes them from there channel by channel. The segments are cut so that in each plane they begin at
// a sector of 32 bytes, whatever the width: no sector is written by two groups but where one row ends in the middle of
// it. For that, the three planes' segments may be shifted against each other by less than a sector.
#include "half.h"
#include "lane_group.h"
#include "pixel_math.h"
#include "tile_job.h"

namespace srgan {

// The host launches with these (srgan_trt/runtime/gpu/launch_geometry.py).
constexpr int pack_threads = 256;
constexpr int pack_columns_per_lane = 8;
// Blocks that a multiprocessor has registers for. Left to itself, ptxas wants more of them and spills.
constexpr int pack_blocks = 3;
constexpr int pack_groups = pack_threads / 8;

// Chunks of shared memory that a group needs: its segment, the planes' shift, and the alignment of the picture's row.
template <class Level>
__device__ __forceinline__ constexpr int pack_chunks(int lanes) {
    return (lanes * pack_columns_per_lane * 3 * int{sizeof(Level)} + sector_bytes / 2 * 3 * int{sizeof(Level)}) /
               chunk_bytes + 1;
}

// Copies a run of levels to `staged`, which is aligned; returns where the first one lies in it. `before` and `after` are
// the picture's levels up to the run's first one and from it on: all of a chunk is read, what lies beside the run too,
// where all of it is the picture's.
template <class Level>
__device__ __forceinline__ const Level* stage_levels(const LaneGroup& group, const Level* from, int count,
                                                     long long before, long long after, uint4* staged) {
    constexpr int per_chunk = chunk_bytes / int{sizeof(Level)};
    const int past = values_past<chunk_bytes>(from);
    Level* const to = reinterpret_cast<Level*>(staged) + past;
    for (int i = group.lane * per_chunk - past; i < count; i += group.lanes * per_chunk) {
        if (i + before >= 0 && i + per_chunk <= after) {
            *reinterpret_cast<uint4*>(to + i) = read_words(from + i);
            continue;
        }
        for (int k = i < 0 ? 0 : i; k < i + per_chunk && k < count; ++k) {
            to[k] = read_value(from + k);
        }
    }
    return to;
}

// One plane's part of a row: vectors of 16 bytes, the first of this lane at column `start`, which may be negative.
// Column i is pixel clamp(i + shift, 0, pixels - 1) of `levels`.
template <class Level, class Element>
__device__ __forceinline__ void write_columns(const LaneGroup& group, const Level* levels, int channels, int pixels,
                                              int shift, Element* row, int start, int width, float scale, float bias) {
    constexpr int per_chunk = chunk_bytes / int{sizeof(Element)};
#pragma unroll
    for (int step = 0; step < pack_columns_per_lane / per_chunk; ++step) {
        const int column = start + step * group.lanes * per_chunk;
        if (column + per_chunk <= 0 || column >= width) {
            continue;
        }
        Chunk<Element> chunk;
#pragma unroll
        for (int i = 0; i < per_chunk; ++i) {
            const int pixel = clamp(column + i + shift, 0, pixels - 1);
            from_float(level_to_value(levels[pixel * channels], scale, bias), chunk.values[i]);
        }
        if (column >= 0 && column + per_chunk <= width) {
            write_words(row + column, chunk.words);
            continue;
        }
#pragma unroll
        for (int i = 0; i < per_chunk; ++i) {
            if (column + i >= 0 && column + i < width) {
                write_value(row + column + i, chunk.values[i]);
            }
        }
    }
}

// image: (image_height, image_width, channels). tensor: (gridDim.z, 3, height, width). Any grid is right: groups take
// rows and segments in strides of the grid. blockDim.x * blockDim.y is at most pack_threads.
template <class Level, class Element>
__device__ __forceinline__ void pack_tiles(const Level* __restrict__ image, int image_height, int image_width,
                                           int channels, const TileJob* __restrict__ jobs, int first,
                                           Element* __restrict__ tensor, int height, int width, float scale,
                                           float bias, uint4* shared) {
    const LaneGroup group;
    const int columns = group.lanes * pack_columns_per_lane;
    uint4* const staged = shared + group.index * pack_chunks<Level>(group.lanes);
    const TileJob& job = jobs[first + static_cast<int>(blockIdx.z)];
    // A window that is wholly outside sees the border only, however far away it is.
    const long long origin_y = clamp(job.y, -height, image_height);
    const long long origin_x = clamp(job.x, -width, image_width);
    const long long image_levels = static_cast<long long>(image_height) * image_width * channels;
    for (int row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y); row < height;
         row += static_cast<int>(gridDim.y * blockDim.y)) {
        const long long image_row = clamp(origin_y + row, 0LL, image_height - 1LL);
        Element* rows[3];
        int past[3];
        int most_past = 0;
#pragma unroll
        for (int colour = 0; colour < 3; ++colour) {
            rows[colour] = tensor + ((3LL * blockIdx.z + colour) * height + row) * width;
            past[colour] = values_past<sector_bytes>(rows[colour]);
            most_past = past[colour] > most_past ? past[colour] : most_past;
        }
        for (int from = static_cast<int>(blockIdx.x) * columns; from < width + most_past;
             from += static_cast<int>(gridDim.x) * columns) {
            // Columns that any of the planes needs, and the pixels of the picture that they show.
            const int first_column = from > most_past ? from - most_past : 0;
            const int last_column = from + columns < width ? from + columns - 1 : width - 1;
            const long long first_pixel = clamp(origin_x + first_column, 0LL, image_width - 1LL);
            const long long last_pixel = clamp(origin_x + last_column, 0LL, image_width - 1LL);
            const int pixels = static_cast<int>(last_pixel - first_pixel) + 1;
            group.wait();  // nobody reads the segment before any more
            const long long before = (image_row * image_width + first_pixel) * channels;
            const Level* const levels = stage_levels(group, image + before, pixels * channels, before,
                                                     image_levels - before, staged);
            group.wait();
#pragma unroll
            for (int colour = 0; colour < 3; ++colour) {
                const int start = from - past[colour] + group.lane * (chunk_bytes / int{sizeof(Element)});
                write_columns(group, levels + (channels == 1 ? 0 : colour), channels, pixels,
                              static_cast<int>(origin_x - first_pixel), rows[colour], start, width, scale, bias);
            }
        }
    }
}

}  // namespace srgan

#define SRGAN_PACK(name, Level, Element)                                                                              \
    extern "C" __global__ void __launch_bounds__(srgan::pack_threads, srgan::pack_blocks)                             \
        name(const Level* __restrict__ image, int image_height, int image_width, int channels,                        \
             const srgan::TileJob* __restrict__ jobs, int first, Element* __restrict__ tensor, int height, int width, \
             float scale, float bias) {                                                                               \
        __shared__ uint4 shared[srgan::pack_groups * srgan::pack_chunks<Level>(8)];                                   \
        srgan::pack_tiles(image, image_height, image_width, channels, jobs, first, tensor, height, width, scale,      \
                          bias, shared);                                                                              \
    }

SRGAN_PACK(pack_u8_f16, unsigned char, srgan::Half)
SRGAN_PACK(pack_u8_f32, unsigned char, float)
SRGAN_PACK(pack_u16_f16, unsigned short, srgan::Half)
SRGAN_PACK(pack_u16_f32, unsigned short, float)
#undef SRGAN_PACK
