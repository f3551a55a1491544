// The frame of every entry point: who may call it now, which fault was asked for, and the line of the trace.
#pragma once

#include "driver.h"

// Of before CUDA 13; cuda.h no longer declares it.
extern "C" CUresult CUDAAPI cuCtxCreate_v2(CUcontext* out, unsigned int flags, CUdevice dev);

namespace standin {

enum class Needs { nothing, init, context };

// The call as CUDA names it in its documentation: without _v2, _ptsz and the like.
CUresult begin(Call& call, const char* name, Needs needs);
CUresult end(Call& call, CUresult result);

// Runs body with the machine locked. Its result is what body returns or the code of the Failure that it throws.
template <class Body>
CUresult entry(const char* name, Needs needs, Body body) {
    Call call;
    CUresult result = begin(call, name, needs);
    if (result == CUDA_SUCCESS) {
        try {
            body(call);
        } catch (const Failure& failure) {
            result = failure.code;
        }
    }
    return end(call, result);
}

// Calls of stream 0 through an entry point asked for with per-thread default streams.
struct PerThreadDefault {
    PerThreadDefault();
    ~PerThreadDefault();
};

template <auto function>
struct PerThread;

template <class... Arguments, CUresult (*function)(Arguments...)>
struct PerThread<function> {
    static CUresult call(Arguments... arguments) {
        const PerThreadDefault scope;
        return function(arguments...);
    }
};

}  // namespace standin
