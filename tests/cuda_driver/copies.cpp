// Copies and fills. What is page-locked is read and written when the stream gets there. Of pageable memory, a copy to
// the device has taken its bytes when the call returns, and a copy from the device has been done (CUDA driver API, "API
// synchronization behavior"). While capturing, pageable memory is refused.
#include <string.h>

#include "calls.h"

using namespace standin;

namespace {

enum class Side { device, page_locked, pageable };

struct End {
    uintptr_t address;
    Side side;
};

// Which memory a range is in. Device memory must hold it whole.
End classify(uintptr_t address, size_t bytes) {
    const Allocation* found = find_allocation(address);
    if (found == nullptr) {
        return {address, Side::pageable};
    }
    require(!found->freed && address + bytes <= found->base + found->bytes);
    const bool device = found->space == Space::device || found->space == Space::managed;
    return {address, device ? Side::device : Side::page_locked};
}

End on_device(uintptr_t address, size_t bytes) {
    const End end = classify(address, bytes);
    require(end.side != Side::pageable);
    return end;
}

// Whether a range that was good when it was enqueued still is; the machine is not locked.
bool still_there(const End& end, size_t bytes) {
    if (end.side == Side::pageable) {
        return true;
    }
    const Lock lock(machine());
    return device_may_touch(end.address, bytes);
}

const char* direction(const End& to, const End& from) {
    if (to.side == Side::device) {
        return from.side == Side::device ? "DtoD" : "HtoD";
    }
    return from.side == Side::device ? "DtoH" : "HtoH";
}

// Rows of `width` bytes; one row is an ordinary copy.
struct Shape {
    size_t width, rows, to_pitch, from_pitch;
    size_t to_extent() const { return rows == 0 ? 0 : (rows - 1) * to_pitch + width; }
    size_t from_extent() const { return rows == 0 ? 0 : (rows - 1) * from_pitch + width; }
};

void move(uintptr_t to, uintptr_t from, const Shape& shape) {
    for (size_t row = 0; row < shape.rows; ++row) {
        memmove(reinterpret_cast<void*>(to + row * shape.to_pitch),
                reinterpret_cast<const void*>(from + row * shape.from_pitch), shape.width);
    }
}

void copy(Call& call, const End& to, const End& from, const Shape& shape, Stream& on, bool wait) {
    Work work;
    work.record.kind = "copy";
    work.record.bytes = shape.width * shape.rows;
    work.record.address = to.address;
    work.record.detail = std::string(", \"direction\": \"") + direction(to, from) +
                         "\", \"from\": " + std::to_string(from.address) + ", \"pageable\": " +
                         (to.side == Side::pageable || from.side == Side::pageable ? "true" : "false");
    const bool pageable_source = from.side == Side::pageable, pageable_target = to.side == Side::pageable;
    if (on.capture && (pageable_source || pageable_target)) {
        break_capture(on, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    if (shape.width * shape.rows == 0) {
        return;
    }
    std::shared_ptr<std::vector<char>> staged;
    if (pageable_source && !pageable_target) {
        staged = std::make_shared<std::vector<char>>(shape.from_extent());
        memcpy(staged->data(), reinterpret_cast<const void*>(from.address), staged->size());
    }
    work.run = [to, from, shape, staged] {
        if (!still_there(to, shape.to_extent()) || !still_there(from, shape.from_extent())) {
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        move(to.address, staged ? reinterpret_cast<uintptr_t>(staged->data()) : from.address, shape);
        return CUDA_SUCCESS;
    };
    const OpPtr op = enqueue(on, std::move(work));
    if (wait || pageable_target) {
        finish(call.lock, op);
        require(on.context->error == CUDA_SUCCESS, on.context->error);
    }
}

Shape line(size_t bytes) {
    return {bytes, 1, bytes, bytes};
}

// A copy without a stream runs on the default one. Between two places on a device the host does not wait for it.
void copy_now(Call& call, const End& to, const End& from, const Shape& shape) {
    not_while_capturing();
    const bool both = to.side == Side::device && from.side == Side::device;
    copy(call, to, from, shape, stream(nullptr), !both);
}

End any(const void* address, size_t bytes) {
    return classify(reinterpret_cast<uintptr_t>(address), bytes);
}

template <class Value>
void fill(CUdeviceptr address, Value value, size_t count, Stream& on, bool now) {
    if (now) {
        not_while_capturing();
    }
    require(address % sizeof(Value) == 0);
    const size_t bytes = count * sizeof(Value);
    const End to = on_device(address, bytes);
    Work work;
    work.record.kind = "fill";
    work.record.bytes = bytes;
    work.record.address = address;
    work.run = [to, value, count] {
        if (!still_there(to, count * sizeof(Value))) {
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        std::fill_n(reinterpret_cast<Value*>(to.address), count, value);
        return CUDA_SUCCESS;
    };
    const OpPtr op = enqueue(on, std::move(work));
    if (now && to.side == Side::page_locked) {
        finish(call().lock, op);
    }
}

struct Rectangle {
    End to, from;
    Shape shape;
};

Rectangle rectangle(const CUDA_MEMCPY2D& about) {
    const auto start = [](CUmemorytype type, const void* host, CUdeviceptr device) {
        require(type != CU_MEMORYTYPE_ARRAY, CUDA_ERROR_NOT_SUPPORTED);
        return type == CU_MEMORYTYPE_HOST ? reinterpret_cast<uintptr_t>(host) : static_cast<uintptr_t>(device);
    };
    const Shape shape = {about.WidthInBytes, about.Height, about.dstPitch == 0 ? about.WidthInBytes : about.dstPitch,
                         about.srcPitch == 0 ? about.WidthInBytes : about.srcPitch};
    require(shape.to_pitch >= shape.width && shape.from_pitch >= shape.width);
    const uintptr_t to = start(about.dstMemoryType, about.dstHost, about.dstDevice) + about.dstXInBytes +
                         about.dstY * shape.to_pitch;
    const uintptr_t from = start(about.srcMemoryType, about.srcHost, about.srcDevice) + about.srcXInBytes +
                           about.srcY * shape.from_pitch;
    const Rectangle found = {classify(to, shape.to_extent()), classify(from, shape.from_extent()), shape};
    require(about.dstMemoryType != CU_MEMORYTYPE_DEVICE || found.to.side != Side::pageable);
    require(about.srcMemoryType != CU_MEMORYTYPE_DEVICE || found.from.side != Side::pageable);
    return found;
}

}  // namespace

CUresult CUDAAPI cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return entry("cuMemcpy", Needs::context,
                 [&](Call& call) { copy_now(call, classify(to, bytes), classify(from, bytes), line(bytes)); });
}

CUresult CUDAAPI cuMemcpyHtoD(CUdeviceptr to, const void* from, size_t bytes) {
    return entry("cuMemcpyHtoD", Needs::context,
                 [&](Call& call) { copy_now(call, on_device(to, bytes), any(from, bytes), line(bytes)); });
}

CUresult CUDAAPI cuMemcpyDtoH(void* to, CUdeviceptr from, size_t bytes) {
    return entry("cuMemcpyDtoH", Needs::context,
                 [&](Call& call) { copy_now(call, any(to, bytes), on_device(from, bytes), line(bytes)); });
}

CUresult CUDAAPI cuMemcpyDtoD(CUdeviceptr to, CUdeviceptr from, size_t bytes) {
    return entry("cuMemcpyDtoD", Needs::context,
                 [&](Call& call) { copy_now(call, on_device(to, bytes), on_device(from, bytes), line(bytes)); });
}

CUresult CUDAAPI cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    return entry("cuMemcpyAsync", Needs::init, [&](Call& call) {
        const End target = classify(to, bytes), source = classify(from, bytes);
        copy(call, target, source, line(bytes), stream(on), target.side != Side::device && source.side != Side::device);
    });
}

CUresult CUDAAPI cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, size_t bytes, CUstream on) {
    return entry("cuMemcpyHtoDAsync", Needs::init, [&](Call& call) {
        copy(call, on_device(to, bytes), any(from, bytes), line(bytes), stream(on), false);
    });
}

CUresult CUDAAPI cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t bytes, CUstream on) {
    return entry("cuMemcpyDtoHAsync", Needs::init, [&](Call& call) {
        copy(call, any(to, bytes), on_device(from, bytes), line(bytes), stream(on), false);
    });
}

CUresult CUDAAPI cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream on) {
    return entry("cuMemcpyDtoDAsync", Needs::init, [&](Call& call) {
        copy(call, on_device(to, bytes), on_device(from, bytes), line(bytes), stream(on), false);
    });
}

// Each end is memory of the context that is named for it, or of a pool.
CUresult CUDAAPI cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                                   size_t bytes, CUstream on) {
    return entry("cuMemcpyPeerAsync", Needs::init, [&](Call& call) {
        const auto end = [bytes](CUdeviceptr address, CUcontext owner) {
            const End found = on_device(address, bytes);
            const Allocation& about = *find_allocation(address);
            require(about.pool != nullptr || about.context == &context(owner));
            return found;
        };
        copy(call, end(to, to_context), end(from, from_context), line(bytes), stream(on), false);
    });
}

CUresult CUDAAPI cuMemcpy2D(const CUDA_MEMCPY2D* about) {
    return entry("cuMemcpy2D", Needs::context, [&](Call& call) {
        const Rectangle found = rectangle(*about);
        copy_now(call, found.to, found.from, found.shape);
    });
}

CUresult CUDAAPI cuMemcpy2DUnaligned(const CUDA_MEMCPY2D* about) {
    return entry("cuMemcpy2DUnaligned", Needs::context, [&](Call& call) {
        const Rectangle found = rectangle(*about);
        copy_now(call, found.to, found.from, found.shape);
    });
}

CUresult CUDAAPI cuMemcpy2DAsync(const CUDA_MEMCPY2D* about, CUstream on) {
    return entry("cuMemcpy2DAsync", Needs::init, [&](Call& call) {
        const Rectangle found = rectangle(*about);
        copy(call, found.to, found.from, found.shape, stream(on), false);
    });
}

CUresult CUDAAPI cuMemsetD8(CUdeviceptr to, unsigned char value, size_t count) {
    return entry("cuMemsetD8", Needs::context, [&](Call&) { fill(to, value, count, stream(nullptr), true); });
}

CUresult CUDAAPI cuMemsetD16(CUdeviceptr to, unsigned short value, size_t count) {
    return entry("cuMemsetD16", Needs::context, [&](Call&) { fill(to, value, count, stream(nullptr), true); });
}

CUresult CUDAAPI cuMemsetD32(CUdeviceptr to, unsigned int value, size_t count) {
    return entry("cuMemsetD32", Needs::context, [&](Call&) { fill(to, value, count, stream(nullptr), true); });
}

CUresult CUDAAPI cuMemsetD8Async(CUdeviceptr to, unsigned char value, size_t count, CUstream on) {
    return entry("cuMemsetD8Async", Needs::init, [&](Call&) { fill(to, value, count, stream(on), false); });
}

CUresult CUDAAPI cuMemsetD16Async(CUdeviceptr to, unsigned short value, size_t count, CUstream on) {
    return entry("cuMemsetD16Async", Needs::init, [&](Call&) { fill(to, value, count, stream(on), false); });
}

CUresult CUDAAPI cuMemsetD32Async(CUdeviceptr to, unsigned int value, size_t count, CUstream on) {
    return entry("cuMemsetD32Async", Needs::init, [&](Call&) { fill(to, value, count, stream(on), false); });
}
