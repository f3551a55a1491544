// What a pointer is.
#include <string.h>

#include "calls.h"

using namespace standin;

namespace {

void answer(void* out, CUpointer_attribute which, const Allocation& about, CUdeviceptr address) {
    const bool device = about.space == Space::device || about.space == Space::managed;
    const auto store = [out](auto value) { memcpy(out, &value, sizeof value); };
    switch (which) {
        case CU_POINTER_ATTRIBUTE_CONTEXT:  // memory of a pool is the device's
            return store(about.pool == nullptr ? about.context : nullptr);
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
            return store(static_cast<unsigned int>(device ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST));
        case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: return store(address);
        case CU_POINTER_ATTRIBUTE_HOST_POINTER:
            require(about.space != Space::device);
            return store(address);
        case CU_POINTER_ATTRIBUTE_BUFFER_ID: return store(static_cast<unsigned long long>(about.id));
        case CU_POINTER_ATTRIBUTE_IS_MANAGED: return store(static_cast<unsigned int>(about.space == Space::managed));
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: return store(about.device == nullptr ? -2 : about.device->ordinal);
        case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return store(static_cast<CUdeviceptr>(about.base));
        case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return store(about.bytes);
        case CU_POINTER_ATTRIBUTE_MAPPED: return store(1u);
        case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return store(about.pool);
        case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
        case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE: return store(0u);
        default: fail(CUDA_ERROR_NOT_SUPPORTED);
    }
}

size_t size_of(CUpointer_attribute which) {
    switch (which) {
        case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
        case CU_POINTER_ATTRIBUTE_IS_MANAGED:
        case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
        case CU_POINTER_ATTRIBUTE_MAPPED:
        case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: return 4;
        default: return 8;
    }
}

}  // namespace

CUresult CUDAAPI cuPointerGetAttribute(void* out, CUpointer_attribute which, CUdeviceptr address) {
    return entry("cuPointerGetAttribute", Needs::init, [&](Call&) {
        const Allocation* found = find_allocation(address);
        require(found != nullptr);
        answer(out, which, *found, address);
    });
}

// For memory that CUDA does not know, zeros instead of an error.
CUresult CUDAAPI cuPointerGetAttributes(unsigned int count, CUpointer_attribute* which, void** out,
                                        CUdeviceptr address) {
    return entry("cuPointerGetAttributes", Needs::init, [&](Call&) {
        const Allocation* found = find_allocation(address);
        for (unsigned int i = 0; i < count; ++i) {
            memset(out[i], 0, size_of(which[i]));
            if (found == nullptr) {
                if (which[i] == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) {
                    *static_cast<int*>(out[i]) = CU_DEVICE_INVALID;
                }
                continue;
            }
            const bool unasked = which[i] == CU_POINTER_ATTRIBUTE_HOST_POINTER && found->space == Space::device;
            if (!unasked) {
                answer(out[i], which[i], *found, address);
            }
        }
    });
}
