#include "calls.h"

#include <string.h>

#include <atomic>

namespace standin {
namespace {

thread_local Call* active = nullptr;
thread_local bool per_thread = false;
std::atomic<int64_t> sequence{0};
bool initialised = false;

// After these an object is gone whatever they return: their errors are "from previous, asynchronous launches".
bool releases(const char* name) {
    for (const char* part : {"Free", "Destroy", "Unload", "Unregister", "Release"}) {
        if (strstr(name, part) != nullptr) {
            return true;
        }
    }
    return false;
}

bool is_sticky(CUresult code) {
    switch (code) {
        case CUDA_ERROR_ILLEGAL_ADDRESS:
        case CUDA_ERROR_LAUNCH_TIMEOUT:
        case CUDA_ERROR_ASSERT:
        case CUDA_ERROR_HARDWARE_STACK_ERROR:
        case CUDA_ERROR_ILLEGAL_INSTRUCTION:
        case CUDA_ERROR_MISALIGNED_ADDRESS:
        case CUDA_ERROR_INVALID_ADDRESS_SPACE:
        case CUDA_ERROR_INVALID_PC:
        case CUDA_ERROR_LAUNCH_FAILED:
        case CUDA_ERROR_ECC_UNCORRECTABLE:
        case CUDA_ERROR_NVLINK_UNCORRECTABLE:
            return true;
        default:
            return false;
    }
}

// The error that this call returns whatever it does: of a fault asked for, or left by work that failed before.
CUresult imposed(const Call& call, const char* name, Needs needs) {
    if (needs != Needs::nothing && !initialised) {
        return CUDA_ERROR_NOT_INITIALIZED;
    }
    Context* now = current_or_null();
    if (needs == Needs::context && now == nullptr) {
        return CUDA_ERROR_INVALID_CONTEXT;
    }
    if (needs == Needs::context && !now->alive) {
        return CUDA_ERROR_CONTEXT_IS_DESTROYED;
    }
    if (needs == Needs::context && now->error != CUDA_SUCCESS) {
        return now->error;
    }
    const Fault fault = fault_of_call(call.record.call);
    if (fault.code != CUDA_SUCCESS && (fault.sticky || is_sticky(fault.code)) && now != nullptr) {
        now->error = fault.code;
    }
    if (needs == Needs::nothing && strcmp(name, "cuInit") == 0 && fault.code == CUDA_SUCCESS) {
        initialised = true;
    }
    return fault.code;
}

thread_local CUresult afterwards = CUDA_SUCCESS;

}  // namespace

Call& call() {
    return *active;
}

bool per_thread_default() {
    return per_thread;
}

PerThreadDefault::PerThreadDefault() {
    per_thread = true;
}

PerThreadDefault::~PerThreadDefault() {
    per_thread = false;
}

CUresult begin(Call& call, const char* name, Needs needs) {
    call.record.call = name;
    call.record.kind = "call";
    call.record.called = call.record.begin = now();
    call.record.sequence = ++sequence;
    if (in_work()) {
        return CUDA_ERROR_NOT_PERMITTED;
    }
    active = &call;
    call.lock = Lock(machine());
    if (current_or_null() != nullptr) {
        call.record.device = current_or_null()->device->ordinal;
    }
    const CUresult error = imposed(call, name, needs);
    afterwards = CUDA_SUCCESS;
    if (error != CUDA_SUCCESS && releases(name) && error != CUDA_ERROR_INVALID_CONTEXT &&
        error != CUDA_ERROR_NOT_INITIALIZED) {
        afterwards = error;
        return CUDA_SUCCESS;
    }
    return error;
}

CUresult end(Call& call, CUresult result) {
    if (active != &call) {  // it was refused: nothing began
        call.record.result = result;
        call.record.end = now();
        write(call.record);
        return result;
    }
    if (result == CUDA_SUCCESS) {
        result = afterwards;
    }
    active = nullptr;
    if (call.lock.owns_lock()) {
        call.lock.unlock();
    }
    if (!call.enqueued || result != CUDA_SUCCESS) {
        call.record.result = result;
        call.record.end = now();
        write(call.record);
    }
    return result;
}

}  // namespace standin

// Every entry point of cuda.h that the stand-in lacks ends here (build.py writes them).
extern "C" int standin_not_supported(const char* name) {
    return standin::entry(name, standin::Needs::nothing,
                          [](standin::Call&) { standin::fail(CUDA_ERROR_NOT_SUPPORTED); });
}
