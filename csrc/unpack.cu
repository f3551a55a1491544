// Network output -> picture: pixel shuffle, de-normalise, clip, round and crop into the canvas on the device.
// Results as those of unpack.cpp, bit for bit.
//
// Bytes moved per output pixel: 3 * sizeof(Element) read, 3 * sizeof(Level) written (float16 to uint8: 9), once each.
// Gray: the same read, sizeof(Level) written (float16 to uint8: 7).
//
// One group of lanes makes one segment of an output row. For shuffle r that is 3r rows of the tensor: the group reads
// them 16 bytes a lane, puts each level where it belongs in shared memory, which lies as the canvas does up to 16
// bytes, and copies the whole to the canvas, again 16 bytes a lane. In shared memory a word is left free after every
// 32: without it, lanes that put levels 8 tensor pixels apart would meet in a few of the 32 banks.
#include "half.h"
#include "lane_group.h"
#include "pixel_math.h"
#include "tile_job.h"

namespace srgan {

// The host launches with these (srgan_trt/runtime/gpu/launch_geometry.py).
constexpr int unpack_threads = 128;
constexpr int unpack_levels_per_lane = 96;  // 8 tensor pixels of colour at r = 4; so r is at most 256
// Blocks that a multiprocessor has registers for. Left to itself, ptxas wants more of them and spills.
constexpr int unpack_blocks = 4;
constexpr int unpack_groups = unpack_threads / 8;

__device__ __forceinline__ int with_gaps(int byte) {
    return byte + byte / 128 * 4;
}

// Words of shared memory that a group needs: its segment, the gaps, and the alignment of the canvas's row.
template <class Level>
__device__ __forceinline__ constexpr int unpack_words(int lanes) {
    return lanes * (unpack_levels_per_lane + unpack_levels_per_lane / 32) * int{sizeof(Level)} / 4 + 8;
}

// What every segment of a launch has in common.
template <class Level>
struct Unpacking {
    float scale, bias;
    int channels;
    int pixel_levels;  // levels from a tensor pixel to the next in an output row
    unsigned char* staged;
    unsigned int not_finite;  // seen by this lane

    // The three values of one output pixel; `index` counts staged levels.
    __device__ __forceinline__ void put(float red, float green, float blue, int index) {
        constexpr float highest = highest_level<Level>();
        not_finite += (is_finite(red) ? 0u : 1u) + (is_finite(green) ? 0u : 1u) + (is_finite(blue) ? 0u : 1u);
        red = value_to_position(red, scale, bias, highest);
        green = value_to_position(green, scale, bias, highest);
        blue = value_to_position(blue, scale, bias, highest);
        if (channels == 1) {
            put_level(round_position(luma_of_positions(red, green, blue, highest)), index);
        } else {
            put_level(round_position(red), index);
            put_level(round_position(green), index + 1);
            put_level(round_position(blue), index + 2);
        }
    }

    __device__ __forceinline__ void put_level(unsigned int level, int index) {
        *reinterpret_cast<Level*>(staged + with_gaps(index * int{sizeof(Level)})) = static_cast<Level>(level);
    }

    // `count` pixels of one phase; `reds` is the first one's, the other colours are `plane` elements further each.
    // `index` is where the first one's levels go. `wide`: that the tensor and its planes begin at chunks.
    template <class Element>
    __device__ __forceinline__ void put_phase(const LaneGroup& group, const Element* __restrict__ reds,
                                              long long plane, int count, int index, bool wide) {
        constexpr int per_chunk = chunk_bytes / int{sizeof(Element)};
        const Element* const greens = reds + plane;
        const Element* const blues = greens + plane;
        if (count <= 0) {
            return;
        }
        if (!wide) {
            // Planes that lie differently in their chunks are read value by value.
            for (int i = group.lane; i < count; i += group.lanes) {
                put(to_float(read_value(reds + i)), to_float(read_value(greens + i)), to_float(read_value(blues + i)),
                    index + i * pixel_levels);
            }
            return;
        }
        // Whole chunks of the tensor, whose values outside of the region are left alone: they are in the same sectors.
        for (int i = group.lane * per_chunk - values_past<chunk_bytes>(reds); i < count;
             i += group.lanes * per_chunk) {
            Chunk<Element> red, green, blue;
            red.words = read_words(reds + i);
            green.words = read_words(greens + i);
            blue.words = read_words(blues + i);
#pragma unroll
            for (int k = 0; k < per_chunk; ++k) {
                if (i + k >= 0 && i + k < count) {
                    put(to_float(red.values[k]), to_float(green.values[k]), to_float(blue.values[k]),
                        index + (i + k) * pixel_levels);
                }
            }
        }
    }

    // The staged levels from `index` on, which lies in its 16 bytes as `to` does.
    __device__ __forceinline__ void write(const LaneGroup& group, Level* to, int count, int index) const {
        constexpr int per_chunk = chunk_bytes / int{sizeof(Level)};
        const Run run = run_at(to, count);
        for (int i = group.lane; i < run.head; i += group.lanes) {
            write_value(to + i, level_at(index + i));
        }
        for (int i = run.head + group.lane * per_chunk; i < run.tail; i += group.lanes * per_chunk) {
            // No gap inside of 16 bytes, but after gaps they are not aligned to 16.
            const unsigned int* const words =
                reinterpret_cast<const unsigned int*>(staged + with_gaps((index + i) * int{sizeof(Level)}));
            write_words(to + i, make_uint4(words[0], words[1], words[2], words[3]));
        }
        for (int i = run.tail + group.lane; i < run.count; i += group.lanes) {
            write_value(to + i, level_at(index + i));
        }
    }

    __device__ __forceinline__ Level level_at(int index) const {
        return *reinterpret_cast<const Level*>(staged + with_gaps(index * int{sizeof(Level)}));
    }
};

// tensor: (gridDim.z, 3 * r * r, height, width). image: (any, image_width, channels). not_finite: one counter per job,
// to which the number of the region's values that are not finite is added. Any grid is right: groups take rows and
// segments in strides of the grid. blockDim.x * blockDim.y is at most unpack_threads.
template <class Element, class Level>
__device__ __forceinline__ void unpack_tiles(const Element* __restrict__ tensor, int height, int width, int r,
                                             const TileJob* __restrict__ jobs, int first, Level* __restrict__ image,
                                             int image_width, int channels, float scale, float bias,
                                             unsigned int* __restrict__ not_finite, unsigned int* shared) {
    constexpr int per_chunk = chunk_bytes / int{sizeof(Element)};
    const LaneGroup group;
    unsigned int* const staged = shared + group.index * unpack_words<Level>(group.lanes);
    Unpacking<Level> work{scale, bias, channels, r * channels, reinterpret_cast<unsigned char*>(staged), 0u};
    const TileJob& job = jobs[first + static_cast<int>(blockIdx.z)];
    const int left = job.left;
    const int right = left + job.out_width;
    const long long plane = static_cast<long long>(height) * width;
    const bool wide = plane % per_chunk == 0 && values_past<chunk_bytes>(tensor) == 0;
    // Tensor pixels of a segment; whole chunks of them, where that many fit.
    const int fit = group.lanes * unpack_levels_per_lane / work.pixel_levels;
    const int segment = fit > per_chunk ? fit / per_chunk * per_chunk : fit;
    const int first_pixel = left / r / per_chunk * per_chunk;
    for (int line = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y); line < job.out_height;
         line += static_cast<int>(gridDim.y * blockDim.y)) {
        const int a = (job.top + line) % r;
        const Element* const row = tensor +
                                   (3LL * r * r * blockIdx.z + phase_channel(a, 0, 0, r)) * plane +
                                   static_cast<long long>((job.top + line) / r) * width;
        const long long canvas_row = static_cast<long long>(job.out_y + line) * image_width + job.out_x;
        for (int pixel = first_pixel + static_cast<int>(blockIdx.x) * segment; pixel * r < right;
             pixel += static_cast<int>(gridDim.x) * segment) {
            const int from = pixel * r > left ? pixel * r : left;
            const int to = (pixel + segment) * r < right ? (pixel + segment) * r : right;
            if (from >= to) {
                continue;
            }
            Level* const out = image + (canvas_row + (from - left)) * channels;
            const int index = values_past<chunk_bytes>(out);
            group.wait();  // nobody reads the segment before any more
            for (int b = 0; b < r; ++b) {
                // Tensor pixels whose column b lies in the segment.
                const int phase_from = (from - b + r - 1) / r;
                const int phase_to = (to - b + r - 1) / r;
                work.put_phase(group, row + phase_channel(0, b, 0, r) * plane + phase_from, plane,
                               phase_to - phase_from, index + (phase_from * r + b - from) * channels, wide);
            }
            group.wait();
            work.write(group, out, (to - from) * channels, index);
        }
    }
    if (work.not_finite != 0) {
        atomicAdd(not_finite + first + blockIdx.z, work.not_finite);
    }
}

}  // namespace srgan

// The canvas's height is for the host, which checks the regions; the kernel has no use for it.
#define SRGAN_UNPACK(name, Element, Level)                                                                        \
    extern "C" __global__ void __launch_bounds__(srgan::unpack_threads, srgan::unpack_blocks)                     \
        name(const Element* __restrict__ tensor, int height, int width, int shuffle,                              \
             const srgan::TileJob* __restrict__ jobs, int first, Level* __restrict__ image, int /*image_height*/, \
             int image_width, int channels, float scale, float bias, unsigned int* __restrict__ not_finite) {     \
        __shared__ unsigned int shared[srgan::unpack_groups * srgan::unpack_words<Level>(8)];                     \
        srgan::unpack_tiles(tensor, height, width, shuffle, jobs, first, image, image_width, channels, scale,     \
                            bias, not_finite, shared);                                                            \
    }

SRGAN_UNPACK(unpack_f16_u8, srgan::Half, unsigned char)
SRGAN_UNPACK(unpack_f16_u16, srgan::Half, unsigned short)
SRGAN_UNPACK(unpack_f32_u8, float, unsigned char)
SRGAN_UNPACK(unpack_f32_u16, float, unsigned short)
#undef SRGAN_UNPACK
