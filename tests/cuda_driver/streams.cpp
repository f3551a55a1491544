// Streams, events, host functions.
#include <algorithm>

#include "calls.h"

using namespace standin;

namespace {

Event& event(CUevent handle) {
    return object<Event>(Kind::event, handle);
}

void synchronise(Call& call, Stream& stream) {
    call.record.kind = "synchronise";
    if (stream.capture) {
        break_capture(stream, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
    }
    finish(call.lock, stream);
    require(stream.context->error == CUDA_SUCCESS, stream.context->error);
}

void create(Call& call, CUstream* out, unsigned int flags, int priority) {
    require((flags & ~CU_STREAM_NON_BLOCKING) == 0);
    Stream& made = new_stream(current(), flags, std::max(-5, std::min(priority, 0)));
    *out = static_cast<CUstream>(enter(Kind::stream, &made));
    call.record.stream = made.number();
}

void record(CUevent which, CUstream on, unsigned int flags) {
    require((flags & ~CU_EVENT_RECORD_EXTERNAL) == 0);
    Event& marked = event(which);
    Stream& where = stream(on);
    require(marked.context == where.context, CUDA_ERROR_INVALID_HANDLE);
    call().record.address = reinterpret_cast<uint64_t>(&marked);
    if (where.capture) {
        require(!where.capture->invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        require(flags == 0, CUDA_ERROR_NOT_SUPPORTED);
        marked.capture = where.capture;
        marked.nodes = where.tail;
        return;
    }
    marked.capture = nullptr;
    Work work;
    work.record.kind = "event";
    work.record.address = reinterpret_cast<uint64_t>(&marked);
    marked.op = enqueue(where, std::move(work));
}

// A wait for an event of a capture takes the stream into that capture.
void wait_in_capture(Stream& waiting, Event& marked) {
    require(marked.capture == nullptr || !marked.capture->ended, CUDA_ERROR_CAPTURED_EVENT);
    if (!marked.capture) {
        if (marked.op) {
            break_capture(waiting, CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
        }
        return;
    }
    if (waiting.capture && waiting.capture != marked.capture) {
        marked.capture->invalid = true;
        break_capture(waiting, CUDA_ERROR_STREAM_CAPTURE_MERGE);
    }
    require(!marked.capture->invalid, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
    if (!waiting.capture) {
        require(&waiting != waiting.context->legacy, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        waiting.capture = marked.capture;
        waiting.capture->streams.push_back(&waiting);
        waiting.tail.clear();
    }
    for (size_t node : marked.nodes) {
        if (std::find(waiting.tail.begin(), waiting.tail.end(), node) == waiting.tail.end()) {
            waiting.tail.push_back(node);
        }
    }
}

}  // namespace

CUresult CUDAAPI cuStreamCreate(CUstream* out, unsigned int flags) {
    return entry("cuStreamCreate", Needs::context, [&](Call& call) { create(call, out, flags, 0); });
}

CUresult CUDAAPI cuStreamCreateWithPriority(CUstream* out, unsigned int flags, int priority) {
    return entry("cuStreamCreateWithPriority", Needs::context, [&](Call& call) { create(call, out, flags, priority); });
}

CUresult CUDAAPI cuStreamDestroy(CUstream which) {
    return entry("cuStreamDestroy", Needs::init, [&](Call& call) {
        Stream& gone = object<Stream>(Kind::stream, which);
        call.record.stream = gone.number();
        leave(Kind::stream, &gone);
        if (gone.capture) {
            gone.capture->invalid = true;
        }
        retire(gone);
        require(gone.context->error == CUDA_SUCCESS, gone.context->error);
    });
}

CUresult CUDAAPI cuStreamSynchronize(CUstream which) {
    return entry("cuStreamSynchronize", Needs::init, [&](Call& call) { synchronise(call, stream(which)); });
}

CUresult CUDAAPI cuStreamQuery(CUstream which) {
    return entry("cuStreamQuery", Needs::init, [&](Call& call) {
        Stream& asked = stream(which);
        if (asked.capture) {
            break_capture(asked, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        require(idle(call.lock, asked.last), CUDA_ERROR_NOT_READY);
        require(asked.context->error == CUDA_SUCCESS, asked.context->error);
    });
}

CUresult CUDAAPI cuStreamWaitEvent(CUstream which, CUevent marker, unsigned int flags) {
    return entry("cuStreamWaitEvent", Needs::init, [&](Call& call) {
        require((flags & ~CU_EVENT_WAIT_EXTERNAL) == 0);
        Event& marked = event(marker);
        Stream& waiting = stream(which);
        call.record.address = reinterpret_cast<uint64_t>(&marked);
        if (waiting.capture || marked.capture) {
            wait_in_capture(waiting, marked);
            return;
        }
        Work work;
        work.record.kind = "wait";
        work.record.address = call.record.address;
        if (marked.op) {
            enqueue(waiting, std::move(work), {marked.op});
        }
    });
}

CUresult CUDAAPI cuStreamGetPriority(CUstream which, int* priority) {
    return entry("cuStreamGetPriority", Needs::init, [&](Call&) { *priority = stream(which).priority; });
}

CUresult CUDAAPI cuStreamGetFlags(CUstream which, unsigned int* flags) {
    return entry("cuStreamGetFlags", Needs::init, [&](Call&) { *flags = stream(which).flags; });
}

CUresult CUDAAPI cuStreamGetId(CUstream which, unsigned long long* id) {
    return entry("cuStreamGetId", Needs::init, [&](Call&) { *id = stream(which).id; });
}

CUresult CUDAAPI cuStreamGetCtx(CUstream which, CUcontext* out) {
    return entry("cuStreamGetCtx", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUcontext>(stream(which).context); });
}

CUresult CUDAAPI cuStreamGetCtx_v2(CUstream which, CUcontext* out, CUgreenCtx* green) {
    return entry("cuStreamGetCtx", Needs::init, [&](Call&) {
        *out = reinterpret_cast<CUcontext>(stream(which).context);
        if (green != nullptr) {
            *green = nullptr;
        }
    });
}

CUresult CUDAAPI cuStreamGetDevice(CUstream which, CUdevice* out) {
    return entry("cuStreamGetDevice", Needs::init, [&](Call&) { *out = stream(which).context->device->ordinal; });
}

CUresult CUDAAPI cuEventCreate(CUevent* out, unsigned int flags) {
    return entry("cuEventCreate", Needs::context, [&](Call& call) {
        auto* made = new Event;
        made->flags = flags;
        made->context = &current();
        *out = static_cast<CUevent>(enter(Kind::event, made));
        call.record.address = reinterpret_cast<uint64_t>(made);
    });
}

CUresult CUDAAPI cuEventDestroy(CUevent which) {
    return entry("cuEventDestroy", Needs::init, [&](Call& call) {
        call.record.address = reinterpret_cast<uint64_t>(which);
        leave(Kind::event, which);
    });
}

CUresult CUDAAPI cuEventRecord(CUevent which, CUstream on) {
    return entry("cuEventRecord", Needs::init, [&](Call&) { record(which, on, 0); });
}

CUresult CUDAAPI cuEventRecordWithFlags(CUevent which, CUstream on, unsigned int flags) {
    return entry("cuEventRecord", Needs::init, [&](Call&) { record(which, on, flags); });
}

CUresult CUDAAPI cuEventQuery(CUevent which) {
    return entry("cuEventQuery", Needs::init, [&](Call& call) {
        Event& asked = event(which);
        require(!asked.capture, CUDA_ERROR_CAPTURED_EVENT);
        require(idle(call.lock, asked.op), CUDA_ERROR_NOT_READY);
        require(asked.context->error == CUDA_SUCCESS, asked.context->error);
    });
}

CUresult CUDAAPI cuEventSynchronize(CUevent which) {
    return entry("cuEventSynchronize", Needs::init, [&](Call& call) {
        Event& asked = event(which);
        call.record.kind = "synchronise";
        call.record.address = reinterpret_cast<uint64_t>(&asked);
        if (asked.capture) {
            asked.capture->invalid = true;
            fail(CUDA_ERROR_CAPTURED_EVENT);
        }
        finish(call.lock, OpPtr(asked.op));
        require(asked.context->error == CUDA_SUCCESS, asked.context->error);
    });
}

CUresult CUDAAPI cuEventElapsedTime(float* milliseconds, CUevent first, CUevent last) {
    return entry("cuEventElapsedTime", Needs::init, [&](Call&) {
        Event& from = event(first);
        Event& to = event(last);
        const bool timed = ((from.flags | to.flags) & CU_EVENT_DISABLE_TIMING) == 0;
        require(from.op && to.op && timed, CUDA_ERROR_INVALID_HANDLE);
        require(from.op->done && to.op->done, CUDA_ERROR_NOT_READY);
        *milliseconds = static_cast<float>(to.op->end - from.op->end) * 1e-6f;
    });
}

CUresult CUDAAPI cuLaunchHostFunc(CUstream on, CUhostFn function, void* data) {
    return entry("cuLaunchHostFunc", Needs::init, [&](Call&) {
        require(function != nullptr);
        Work work;
        work.record.kind = "host";
        work.run = [function, data] {
            function(data);
            return CUDA_SUCCESS;
        };
        enqueue(stream(on), std::move(work));
    });
}

CUresult CUDAAPI cuLaunchHostFunc_v2(CUstream on, CUhostFn function, void* data, unsigned int) {
    return cuLaunchHostFunc(on, function, data);
}

CUresult CUDAAPI cuStreamAddCallback(CUstream on, CUstreamCallback function, void* data, unsigned int flags) {
    return entry("cuStreamAddCallback", Needs::init, [&](Call&) {
        require(flags == 0 && function != nullptr);
        Stream& where = stream(on);
        if (where.capture) {
            break_capture(where, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
        Work work;
        work.record.kind = "host";
        work.run = [function, data, on] {
            function(on, CUDA_SUCCESS, data);
            return CUDA_SUCCESS;
        };
        enqueue(where, std::move(work));
    });
}
