// Memory: every allocation is host memory of its own, between two pages that nobody may touch, filled with 0xFF (NaN in
// float32 and float16). What is freed becomes untouchable and is never used again, so that use after free is seen.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"

namespace standin {
namespace {

// By the address of the end, so that lower_bound finds what is around an address.
std::map<uintptr_t, Allocation*>& table() {
    static auto* found = new std::map<uintptr_t, Allocation*>;
    return *found;
}

constexpr size_t alignment = 256;
constexpr unsigned char fill = 0xFF;

void charge(Allocation& made) {
    if (made.space == Space::device || made.space == Space::managed) {
        Device& owner = *made.device;
        require(made.bytes <= settings().memory - owner.used, CUDA_ERROR_OUT_OF_MEMORY);
        owner.used += made.bytes;
        owner.peak = std::max(owner.peak, owner.used);
    }
    if (made.pool != nullptr) {
        made.pool->used += made.bytes;
        made.pool->peak = std::max(made.pool->peak, made.pool->used);
    }
}

void discharge(const Allocation& gone) {
    if (gone.space == Space::device || gone.space == Space::managed) {
        gone.device->used -= gone.bytes;
    }
    if (gone.pool != nullptr) {
        gone.pool->used -= gone.bytes;
    }
}

Allocation& list(Allocation* made) {
    static uint64_t ids = 0;
    made->id = ++ids;
    made->call = call().record.call;
    call().record.bytes = made->bytes;
    call().record.address = made->base;
    table()[made->base + made->bytes] = made;
    return *made;
}

}  // namespace

Allocation& allocate(size_t bytes, Space space, Pool* pool) {
    require(bytes > 0);
    auto made = std::make_unique<Allocation>();
    made->context = current_or_null();
    made->device = pool != nullptr ? pool->device : current().device;
    made->bytes = bytes;
    made->space = space;
    made->pool = pool;
    charge(*made);
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    const size_t pages = (rounded + page - 1) / page * page;
    made->mapped = pages + 2 * page;
    made->mapping = mmap(nullptr, made->mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (made->mapping == MAP_FAILED) {
        discharge(*made);
        fail(CUDA_ERROR_OUT_OF_MEMORY);
    }
    char* inside = static_cast<char*>(made->mapping) + page;
    mprotect(inside, pages, PROT_READ | PROT_WRITE);
    made->base = reinterpret_cast<uintptr_t>(inside + pages - rounded);  // as near to the page behind it as may be
    if (bytes <= size_t{1} << 30) {
        memset(inside, fill, pages);
    }
    return list(made.release());
}

void release(Allocation& gone) {
    discharge(gone);
    table().erase(gone.base + gone.bytes);
    gone.freed = true;
    gone.touchable = false;
    if (gone.mapping != nullptr) {
        madvise(gone.mapping, gone.mapped, MADV_DONTNEED);
        mprotect(gone.mapping, gone.mapped, PROT_NONE);
    }
}

Allocation* find_allocation(uintptr_t address) {
    const auto found = table().upper_bound(address);
    return found != table().end() && found->second->base <= address ? found->second : nullptr;
}

bool device_may_touch(uintptr_t address, size_t bytes) {
    const Allocation* found = find_allocation(address);
    return found != nullptr && found->touchable && address + bytes <= found->base + found->bytes;
}

std::vector<const Allocation*> allocations() {
    std::vector<const Allocation*> found;
    for (const auto& each : table()) {
        found.push_back(each.second);
    }
    return found;
}

void release_all(Context& context) {
    std::vector<Allocation*> gone;
    for (const auto& each : table()) {
        if (each.second->context == &context && each.second->pool == nullptr) {
            gone.push_back(each.second);
        }
    }
    for (Allocation* each : gone) {
        release(*each);
    }
}

Allocation& exactly(uintptr_t address) {
    Allocation* found = find_allocation(address);
    require(found != nullptr && found->base == address && !found->freed);
    call().record.bytes = found->bytes;
    call().record.address = found->base;
    return *found;
}

namespace {

// What is freed in this way may be in use by work of any stream, which it waits for.
void free_now(Call& call, uintptr_t address, bool host) {
    if (address == 0 && !host) {
        return;
    }
    not_while_capturing();
    Allocation& gone = exactly(address);
    require((gone.space == Space::host) == host);
    gone.freed = true;
    if (gone.context != nullptr && gone.context->alive && gone.pool == nullptr) {
        finish(call.lock, *gone.context);
    }
    release(gone);
}

}  // namespace
}  // namespace standin

using namespace standin;

CUresult CUDAAPI cuMemGetInfo(size_t* free, size_t* total) {
    return entry("cuMemGetInfo", Needs::context, [&](Call&) {
        *total = settings().memory;
        *free = settings().memory - current().device->used;
    });
}

CUresult CUDAAPI cuMemAlloc(CUdeviceptr* out, size_t bytes) {
    return entry("cuMemAlloc", Needs::context, [&](Call& call) {
        call.record.bytes = bytes;
        not_while_capturing();
        *out = allocate(bytes, Space::device, nullptr).base;
    });
}

CUresult CUDAAPI cuMemAllocPitch(CUdeviceptr* out, size_t* pitch, size_t width, size_t height, unsigned int) {
    return entry("cuMemAllocPitch", Needs::context, [&](Call&) {
        not_while_capturing();
        *pitch = (width + 511) / 512 * 512;
        *out = allocate(*pitch * height, Space::device, nullptr).base;
    });
}

CUresult CUDAAPI cuMemAllocManaged(CUdeviceptr* out, size_t bytes, unsigned int) {
    return entry("cuMemAllocManaged", Needs::context, [&](Call& call) {
        call.record.bytes = bytes;
        not_while_capturing();
        *out = allocate(bytes, Space::managed, nullptr).base;
    });
}

CUresult CUDAAPI cuMemFree(CUdeviceptr address) {
    return entry("cuMemFree", Needs::context, [&](Call& call) { free_now(call, address, false); });
}

CUresult CUDAAPI cuMemAllocHost(void** out, size_t bytes) {
    return entry("cuMemAllocHost", Needs::context, [&](Call& call) {
        call.record.bytes = bytes;
        not_while_capturing();
        *out = reinterpret_cast<void*>(allocate(bytes, Space::host, nullptr).base);
    });
}

CUresult CUDAAPI cuMemHostAlloc(void** out, size_t bytes, unsigned int flags) {
    return entry("cuMemHostAlloc", Needs::context, [&](Call& call) {
        call.record.bytes = bytes;
        not_while_capturing();
        Allocation& made = allocate(bytes, Space::host, nullptr);
        made.flags = flags;
        *out = reinterpret_cast<void*>(made.base);
    });
}

CUresult CUDAAPI cuMemFreeHost(void* address) {
    return entry("cuMemFreeHost", Needs::context,
                 [&](Call& call) { free_now(call, reinterpret_cast<uintptr_t>(address), true); });
}

CUresult CUDAAPI cuMemHostRegister(void* address, size_t bytes, unsigned int flags) {
    return entry("cuMemHostRegister", Needs::context, [&](Call&) {
        not_while_capturing();
        const auto base = reinterpret_cast<uintptr_t>(address);
        require(address != nullptr && bytes > 0);
        require(find_allocation(base) == nullptr && find_allocation(base + bytes - 1) == nullptr,
                CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED);
        auto made = std::make_unique<Allocation>();
        made->base = base;
        made->bytes = bytes;
        made->space = Space::registered;
        made->context = &current();
        made->device = current().device;
        made->flags = flags;
        list(made.release());
    });
}

CUresult CUDAAPI cuMemHostUnregister(void* address) {
    return entry("cuMemHostUnregister", Needs::context, [&](Call& call) {
        Allocation* found = find_allocation(reinterpret_cast<uintptr_t>(address));
        require(found != nullptr && found->space == Space::registered, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED);
        finish(call.lock, *found->context);
        release(exactly(reinterpret_cast<uintptr_t>(address)));
    });
}

CUresult CUDAAPI cuMemHostGetDevicePointer(CUdeviceptr* out, void* address, unsigned int) {
    return entry("cuMemHostGetDevicePointer", Needs::context, [&](Call&) {
        Allocation* found = find_allocation(reinterpret_cast<uintptr_t>(address));
        require(found != nullptr && (found->space == Space::host || found->space == Space::registered));
        *out = reinterpret_cast<CUdeviceptr>(address);
    });
}

CUresult CUDAAPI cuMemHostGetFlags(unsigned int* flags, void* address) {
    return entry("cuMemHostGetFlags", Needs::context, [&](Call&) {
        Allocation* found = find_allocation(reinterpret_cast<uintptr_t>(address));
        require(found != nullptr && found->space == Space::host);
        *flags = found->flags;
    });
}

CUresult CUDAAPI cuMemGetAddressRange(CUdeviceptr* base, size_t* bytes, CUdeviceptr address) {
    return entry("cuMemGetAddressRange", Needs::context, [&](Call&) {
        Allocation* found = find_allocation(address);
        require(found != nullptr, CUDA_ERROR_NOT_FOUND);
        if (base != nullptr) {
            *base = found->base;
        }
        if (bytes != nullptr) {
            *bytes = found->bytes;
        }
    });
}
