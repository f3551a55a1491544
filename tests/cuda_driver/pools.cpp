// Stream-ordered memory and its pools. A pool keeps nothing: every allocation is new memory.
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"

using namespace standin;

namespace {

Pool& default_pool(Device& device) {
    static auto* pools = new std::map<int, Pool*>;
    Pool*& found = (*pools)[device.ordinal];
    if (found == nullptr) {
        found = new Pool{&device};
    }
    return *found;
}

Pool& pool(CUmemoryPool handle) {
    for (Device& each : devices()) {
        if (reinterpret_cast<Pool*>(handle) == &default_pool(each)) {
            return default_pool(each);
        }
    }
    return object<Pool>(Kind::pool, handle);
}

bool is_host(CUmemLocationType type) {
    return type == CU_MEM_LOCATION_TYPE_HOST || type == CU_MEM_LOCATION_TYPE_HOST_NUMA ||
           type == CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
}

// Stream-ordered: untouchable until the stream gets there.
CUdeviceptr allocate_async(size_t bytes, Pool& from, Stream& on) {
    require(!on.capture, CUDA_ERROR_NOT_SUPPORTED);
    Allocation& made = allocate(bytes, from.space, &from);
    made.touchable = false;
    mprotect(made.mapping, made.mapped, PROT_NONE);
    Work work;
    work.record = call().record;
    work.record.kind = "alloc";
    work.run = [&made] {
        const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        mprotect(static_cast<char*>(made.mapping) + page, made.mapped - 2 * page, PROT_READ | PROT_WRITE);
        const Lock lock(machine());
        made.touchable = true;
        return CUDA_SUCCESS;
    };
    enqueue(on, std::move(work));
    return made.base;
}

void free_async(Allocation& gone, CUstream handle) {
    if (gone.context != nullptr && gone.context->error != CUDA_SUCCESS) {
        release(gone);
    }
    Stream& on = stream(handle);
    require(!on.capture, CUDA_ERROR_NOT_SUPPORTED);
    gone.freed = true;
    Work work;
    work.record = call().record;
    work.record.kind = "free";
    work.run = [&gone] {
        const Lock lock(machine());
        release(gone);
        return CUDA_SUCCESS;
    };
    enqueue(on, std::move(work));
}

}  // namespace

CUresult CUDAAPI cuMemAllocAsync(CUdeviceptr* out, size_t bytes, CUstream on) {
    return entry("cuMemAllocAsync", Needs::init, [&](Call& call) {
        call.record.bytes = bytes;
        Stream& where = stream(on);
        *out = allocate_async(bytes, default_pool(*where.context->device), where);
    });
}

CUresult CUDAAPI cuMemAllocFromPoolAsync(CUdeviceptr* out, size_t bytes, CUmemoryPool from, CUstream on) {
    return entry("cuMemAllocFromPoolAsync", Needs::init, [&](Call& call) {
        call.record.bytes = bytes;
        Pool& source = pool(from);
        *out = allocate_async(bytes, source, stream(on));
    });
}

CUresult CUDAAPI cuMemFreeAsync(CUdeviceptr address, CUstream on) {
    return entry("cuMemFreeAsync", Needs::init, [&](Call&) { free_async(exactly(address), on); });
}

CUresult CUDAAPI cuDeviceGetDefaultMemPool(CUmemoryPool* out, CUdevice dev) {
    return entry("cuDeviceGetDefaultMemPool", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUmemoryPool>(&default_pool(device(dev))); });
}

CUresult CUDAAPI cuDeviceGetMemPool(CUmemoryPool* out, CUdevice dev) {
    return entry("cuDeviceGetMemPool", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUmemoryPool>(&default_pool(device(dev))); });
}

CUresult CUDAAPI cuMemPoolCreate(CUmemoryPool* out, const CUmemPoolProps* properties) {
    return entry("cuMemPoolCreate", Needs::init, [&](Call&) {
        const bool host = is_host(properties->location.type);
        require(host || properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE, CUDA_ERROR_NOT_SUPPORTED);
        auto* made = new Pool{&device(host ? 0 : properties->location.id), host ? Space::host : Space::device};
        *out = static_cast<CUmemoryPool>(enter(Kind::pool, made));
    });
}

CUresult CUDAAPI cuMemPoolDestroy(CUmemoryPool handle) {
    return entry("cuMemPoolDestroy", Needs::init, [&](Call&) { leave(Kind::pool, handle); });
}

CUresult CUDAAPI cuMemPoolTrimTo(CUmemoryPool handle, size_t) {
    return entry("cuMemPoolTrimTo", Needs::init, [&](Call&) { pool(handle); });
}

CUresult CUDAAPI cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc*, size_t) {
    return entry("cuMemPoolSetAccess", Needs::init, [&](Call&) { pool(handle); });
}

CUresult CUDAAPI cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool handle, CUmemLocation* location) {
    return entry("cuMemPoolGetAccess", Needs::init, [&](Call&) {
        const Pool& asked = pool(handle);
        const bool own = location->type == CU_MEM_LOCATION_TYPE_DEVICE && location->id == asked.device->ordinal;
        *flags = own || asked.space == Space::host ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    });
}

CUresult CUDAAPI cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute which, void* value) {
    return entry("cuMemPoolSetAttribute", Needs::init, [&](Call&) {
        if (which == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) {
            pool(handle).release_threshold = *static_cast<cuuint64_t*>(value);
        }
    });
}

CUresult CUDAAPI cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute which, void* value) {
    return entry("cuMemPoolGetAttribute", Needs::init, [&](Call&) {
        const Pool& asked = pool(handle);
        switch (which) {
            case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
                *static_cast<cuuint64_t*>(value) = asked.release_threshold;
                break;
            case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
            case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
                *static_cast<cuuint64_t*>(value) = asked.used;
                break;
            case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
            case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
                *static_cast<cuuint64_t*>(value) = asked.peak;
                break;
            default:
                *static_cast<int*>(value) = 1;
        }
    });
}
