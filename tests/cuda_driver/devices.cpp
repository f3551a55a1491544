// Initialisation, devices, contexts, and the names of errors.
#include <stdio.h>
#include <string.h>

#include <algorithm>

#include "calls.h"

namespace standin {
namespace {

thread_local std::vector<Context*> stack;

Context& new_context(Device& device, unsigned int flags) {
    static uint64_t ids = 0;
    auto* made = new Context;
    made->device = &device;
    made->flags = flags;
    made->id = ++ids;
    made->legacy = &new_stream(*made, CU_STREAM_DEFAULT, 0);
    made->legacy->is_default = true;
    enter(Kind::context, made);
    return *made;
}

CUcontext handle(Context* context) {
    return reinterpret_cast<CUcontext>(context);
}

int capability(int ordinal) {
    const std::vector<int>& list = settings().capabilities;
    return list[std::min<size_t>(ordinal, list.size() - 1)];
}

// CUDA programming guide, "Technical Specifications per Compute Capability"; 0 for what nobody here asks about.
int attribute(CUdevice_attribute which, int ordinal) {
    const int found = capability(ordinal);
    const bool small = found == 75 || found == 86 || found == 89 || found >= 120;
    switch (which) {
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
        case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
        case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 49152;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
            return found == 75 ? 65536 : small ? 101376 : 166912;
        case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR:
            return found == 75 ? 65536 : small ? 102400 : 167936;
        case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 65536;
        case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
        case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 2147483647;
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
        case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
        case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 2000000;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: return 512;
        case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT: return 32;
        case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return settings().multiprocessors;
        case CU_DEVICE_ATTRIBUTE_PCI_BUS_ID: return 1 + ordinal;
        case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 2;
        case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return found == 75 ? 1024 : small ? 1536 : 2048;
        case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 6 << 20;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return found / 10;
        case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return found % 10;
        case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
        case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
        case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
        case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
        case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
        case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
        case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
        case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
        default: return 0;
    }
}

struct ErrorName {
    CUresult code;
    const char* name;
    const char* text;
};

const ErrorName errors[] = {
    {CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
    {CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE", "device busy or unavailable"},
    {CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no device"},
    {CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {CUDA_ERROR_INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "invalid kernel image"},
    {CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU", "no kernel image for this device"},
    {CUDA_ERROR_ECC_UNCORRECTABLE, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error"},
    {CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
    {CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "illegal memory access"},
    {CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources for a launch"},
    {CUDA_ERROR_LAUNCH_TIMEOUT, "CUDA_ERROR_LAUNCH_TIMEOUT", "launch timed out"},
    {CUDA_ERROR_CONTEXT_IS_DESTROYED, "CUDA_ERROR_CONTEXT_IS_DESTROYED", "context is destroyed"},
    {CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "already registered"},
    {CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "memory is not registered"},
    {CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
    {CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {CUDA_ERROR_NOT_PERMITTED, "CUDA_ERROR_NOT_PERMITTED", "operation not permitted"},
    {CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "not permitted during capture"},
    {CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "failed during capture before"},
    {CUDA_ERROR_STREAM_CAPTURE_MERGE, "CUDA_ERROR_STREAM_CAPTURE_MERGE", "would merge two captures"},
    {CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "CUDA_ERROR_STREAM_CAPTURE_UNMATCHED", "capture began on another stream"},
    {CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "captured work was not joined"},
    {CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "CUDA_ERROR_STREAM_CAPTURE_ISOLATION", "depends on uncaptured work"},
    {CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "CUDA_ERROR_STREAM_CAPTURE_IMPLICIT", "legacy stream during capture"},
    {CUDA_ERROR_CAPTURED_EVENT, "CUDA_ERROR_CAPTURED_EVENT", "event was recorded in a capture"},
    {CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD", "another thread's capture"},
    {CUDA_ERROR_UNKNOWN, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

CUresult describe(CUresult code, const char* ErrorName::*member, const char** out) {
    for (const ErrorName& each : errors) {
        if (each.code == code) {
            *out = each.*member;
            return CUDA_SUCCESS;
        }
    }
    *out = nullptr;
    return CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

std::vector<Device>& devices() {
    static auto* list = [] {
        auto* made = new std::vector<Device>(std::max(settings().devices, 0));
        for (size_t i = 0; i < made->size(); ++i) {
            (*made)[i].ordinal = static_cast<int>(i);
        }
        return made;
    }();
    return *list;
}

Device& device(int ordinal) {
    require(ordinal >= 0 && ordinal < static_cast<int>(devices().size()), CUDA_ERROR_INVALID_DEVICE);
    return devices()[ordinal];
}

Context& context(CUcontext handle) {
    require(known(Kind::context, handle), CUDA_ERROR_INVALID_CONTEXT);
    return *reinterpret_cast<Context*>(handle);
}

Context* current_or_null() {
    return stack.empty() ? nullptr : stack.back();
}

Context& current() {
    require(current_or_null() != nullptr, CUDA_ERROR_INVALID_CONTEXT);
    return *current_or_null();
}

void destroy(Lock& lock, Context& gone) {
    finish(lock, gone);
    release_all(gone);
    for (Stream* each : gone.streams) {
        if (known(Kind::stream, each)) {
            leave(Kind::stream, each);
        }
        retire(*each);
    }
    gone.alive = false;
    leave(Kind::context, &gone);
    if (gone.device->primary == &gone) {
        gone.device->primary = nullptr;
    }
}

}  // namespace standin

using namespace standin;

CUresult CUDAAPI cuInit(unsigned int flags) {
    return entry("cuInit", Needs::nothing, [&](Call&) {
        require(flags == 0);
        require(!devices().empty(), CUDA_ERROR_NO_DEVICE);
    });
}

CUresult CUDAAPI cuDriverGetVersion(int* version) {
    return entry("cuDriverGetVersion", Needs::nothing, [&](Call&) { *version = settings().version; });
}

CUresult CUDAAPI cuGetErrorName(CUresult error, const char** text) {
    return describe(error, &ErrorName::name, text);
}

CUresult CUDAAPI cuGetErrorString(CUresult error, const char** text) {
    return describe(error, &ErrorName::text, text);
}

CUresult CUDAAPI cuDeviceGetCount(int* count) {
    return entry("cuDeviceGetCount", Needs::init, [&](Call&) { *count = static_cast<int>(devices().size()); });
}

CUresult CUDAAPI cuDeviceGet(CUdevice* out, int ordinal) {
    return entry("cuDeviceGet", Needs::init, [&](Call&) { *out = device(ordinal).ordinal; });
}

CUresult CUDAAPI cuDeviceGetName(char* name, int size, CUdevice dev) {
    return entry("cuDeviceGetName", Needs::init, [&](Call&) {
        device(dev);
        snprintf(name, size, "%s", settings().name.c_str());
    });
}

CUresult CUDAAPI cuDeviceGetUuid(CUuuid* uuid, CUdevice dev) {
    return entry("cuDeviceGetUuid", Needs::init, [&](Call&) {
        memset(uuid, 0x5a, sizeof *uuid);
        uuid->bytes[15] = static_cast<char>(device(dev).ordinal);
    });
}

CUresult CUDAAPI cuDeviceTotalMem(size_t* bytes, CUdevice dev) {
    return entry("cuDeviceTotalMem", Needs::init, [&](Call&) {
        device(dev);
        *bytes = settings().memory;
    });
}

CUresult CUDAAPI cuDeviceGetPCIBusId(char* text, int size, CUdevice dev) {
    return entry("cuDeviceGetPCIBusId", Needs::init,
                 [&](Call&) { snprintf(text, size, "0000:%02x:00.0", 1 + device(dev).ordinal); });
}

CUresult CUDAAPI cuDeviceGetAttribute(int* value, CUdevice_attribute which, CUdevice dev) {
    return entry("cuDeviceGetAttribute", Needs::init, [&](Call&) {
        require(which > 0 && which < CU_DEVICE_ATTRIBUTE_MAX);
        *value = attribute(which, device(dev).ordinal);
    });
}

CUresult CUDAAPI cuDeviceComputeCapability(int* major, int* minor, CUdevice dev) {
    return entry("cuDeviceComputeCapability", Needs::init, [&](Call&) {
        const int found = capability(device(dev).ordinal);
        *major = found / 10;
        *minor = found % 10;
    });
}

CUresult CUDAAPI cuDeviceCanAccessPeer(int* can, CUdevice dev, CUdevice peer) {
    return entry("cuDeviceCanAccessPeer", Needs::init, [&](Call&) {
        device(dev);
        device(peer);
        *can = 0;
    });
}

CUresult CUDAAPI cuDevicePrimaryCtxRetain(CUcontext* out, CUdevice dev) {
    return entry("cuDevicePrimaryCtxRetain", Needs::init, [&](Call&) {
        Device& owner = device(dev);
        if (owner.primary == nullptr) {
            owner.primary = &new_context(owner, owner.primary_flags);
        }
        ++owner.retained;
        *out = handle(owner.primary);
    });
}

CUresult CUDAAPI cuDevicePrimaryCtxRelease(CUdevice dev) {
    return entry("cuDevicePrimaryCtxRelease", Needs::init, [&](Call& call) {
        Device& owner = device(dev);
        require(owner.primary != nullptr && owner.retained > 0, CUDA_ERROR_INVALID_CONTEXT);
        if (--owner.retained == 0) {
            destroy(call.lock, *owner.primary);
        }
    });
}

CUresult CUDAAPI cuDevicePrimaryCtxReset(CUdevice dev) {
    return entry("cuDevicePrimaryCtxReset", Needs::init, [&](Call& call) {
        if (device(dev).primary != nullptr) {
            destroy(call.lock, *device(dev).primary);
        }
    });
}

CUresult CUDAAPI cuDevicePrimaryCtxGetState(CUdevice dev, unsigned int* flags, int* active) {
    return entry("cuDevicePrimaryCtxGetState", Needs::init, [&](Call&) {
        *active = device(dev).primary != nullptr;
        *flags = device(dev).primary_flags;
    });
}

CUresult CUDAAPI cuDevicePrimaryCtxSetFlags(CUdevice dev, unsigned int flags) {
    return entry("cuDevicePrimaryCtxSetFlags", Needs::init, [&](Call&) { device(dev).primary_flags = flags; });
}

CUresult CUDAAPI cuCtxCreate(CUcontext* out, CUctxCreateParams*, unsigned int flags, CUdevice dev) {
    return entry("cuCtxCreate", Needs::init, [&](Call&) {
        stack.push_back(&new_context(device(dev), flags));
        *out = handle(stack.back());
    });
}

// The signature from before CUDA 13, which pycuda links to.
extern "C" CUresult CUDAAPI cuCtxCreate_v2(CUcontext* out, unsigned int flags, CUdevice dev) {
    return cuCtxCreate(out, nullptr, flags, dev);
}

CUresult CUDAAPI cuCtxDestroy(CUcontext ctx) {
    return entry("cuCtxDestroy", Needs::init, [&](Call& call) {
        Context& gone = context(ctx);
        require(gone.device->primary != &gone, CUDA_ERROR_INVALID_CONTEXT);
        if (!stack.empty() && stack.back() == &gone) {
            stack.pop_back();
        }
        destroy(call.lock, gone);
    });
}

CUresult CUDAAPI cuCtxAttach(CUcontext* out, unsigned int flags) {
    return entry("cuCtxAttach", Needs::context, [&](Call&) {
        require(flags == 0);
        ++current().usage;
        *out = handle(&current());
    });
}

CUresult CUDAAPI cuCtxDetach(CUcontext ctx) {
    return entry("cuCtxDetach", Needs::init, [&](Call& call) {
        Context& released = context(ctx);
        require(--released.usage >= 0, CUDA_ERROR_INVALID_CONTEXT);
        if (released.usage == 0) {
            stack.erase(std::remove(stack.begin(), stack.end(), &released), stack.end());
            destroy(call.lock, released);
        }
    });
}

CUresult CUDAAPI cuCtxGetCurrent(CUcontext* out) {
    return entry("cuCtxGetCurrent", Needs::init, [&](Call&) { *out = handle(current_or_null()); });
}

CUresult CUDAAPI cuCtxSetCurrent(CUcontext ctx) {
    return entry("cuCtxSetCurrent", Needs::init, [&](Call&) {
        Context* next = ctx == nullptr ? nullptr : &context(ctx);
        if (!stack.empty()) {
            stack.pop_back();
        }
        if (next != nullptr) {
            stack.push_back(next);
        }
    });
}

CUresult CUDAAPI cuCtxPushCurrent(CUcontext ctx) {
    return entry("cuCtxPushCurrent", Needs::init, [&](Call&) { stack.push_back(&context(ctx)); });
}

CUresult CUDAAPI cuCtxPopCurrent(CUcontext* out) {
    return entry("cuCtxPopCurrent", Needs::init, [&](Call&) {
        Context& top = current();
        stack.pop_back();
        if (out != nullptr) {
            *out = handle(&top);
        }
    });
}

CUresult CUDAAPI cuCtxGetDevice(CUdevice* out) {
    return entry("cuCtxGetDevice", Needs::init, [&](Call&) { *out = current().device->ordinal; });
}

CUresult CUDAAPI cuCtxGetDevice_v2(CUdevice* out, CUcontext ctx) {
    return entry("cuCtxGetDevice", Needs::init, [&](Call&) { *out = context(ctx).device->ordinal; });
}

CUresult CUDAAPI cuCtxGetFlags(unsigned int* flags) {
    return entry("cuCtxGetFlags", Needs::context, [&](Call&) { *flags = current().flags; });
}

CUresult CUDAAPI cuCtxGetId(CUcontext ctx, unsigned long long* id) {
    return entry("cuCtxGetId", Needs::init, [&](Call&) { *id = ctx == nullptr ? current().id : context(ctx).id; });
}

CUresult CUDAAPI cuCtxGetApiVersion(CUcontext, unsigned int* version) {
    return entry("cuCtxGetApiVersion", Needs::init, [&](Call&) { *version = 3020; });
}

CUresult CUDAAPI cuCtxGetStreamPriorityRange(int* least, int* greatest) {
    return entry("cuCtxGetStreamPriorityRange", Needs::context, [&](Call&) {
        if (least != nullptr) {
            *least = 0;
        }
        if (greatest != nullptr) {
            *greatest = -5;
        }
    });
}

CUresult CUDAAPI cuCtxSynchronize() {
    return entry("cuCtxSynchronize", Needs::context, [&](Call& call) {
        Context& mine = current();
        call.record.kind = "synchronise";
        not_while_capturing(mine);
        finish(call.lock, mine);
        require(mine.error == CUDA_SUCCESS, mine.error);
    });
}
