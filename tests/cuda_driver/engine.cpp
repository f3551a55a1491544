// Work on streams. An operation waits for the one before it on its stream and for what its events and the default
// stream's rules name. Each stream has a thread; or, in the order "late", nothing runs until somebody waits for it, and
// then only that and what it waits for.
#include <errno.h>
#include <time.h>

#include <algorithm>
#include <random>

#include "driver.h"

namespace standin {
namespace {

std::condition_variable& changed() {
    static auto* condition = new std::condition_variable;
    return *condition;
}


bool ready(const Op& op) {
    return std::all_of(op.after.begin(), op.after.end(), [](const OpPtr& other) { return other->done; });
}

void pause() {
    static auto* random = new std::mt19937(settings().seed);
    static std::mutex* guard = new std::mutex;
    int64_t microseconds;
    {
        const std::lock_guard<std::mutex> hold(*guard);
        microseconds = std::uniform_int_distribution<int64_t>(0, settings().delay)(*random);
    }
    timespec left{microseconds / 1000000, microseconds % 1000000 * 1000};
    while (nanosleep(&left, &left) == -1 && errno == EINTR) {
    }
}

// Runs the first operation of a stream. The lock is held before and after; the stream is marked busy meanwhile.
void execute(Lock& lock, Stream& stream) {
    const OpPtr op = stream.queue.front();
    Context& owner = *stream.context;
    Record& record = op->work.record;
    CUresult result = owner.error;  // after an error nothing runs any more in its context
    record.begin = now();
    if (op->work.run && (result == CUDA_SUCCESS || record.kind == "free")) {
        const Fault fault = fault_of_execution(record.kind);
        result = fault.code;
        if (result == CUDA_SUCCESS) {
            lock.unlock();
            if (settings().delay > 0) {
                pause();
                record.begin = now();
            }
            in_work() = true;
            result = op->work.run();
            in_work() = false;
            lock.lock();
        }
        if (result != CUDA_SUCCESS) {
            owner.error = result;
        }
        result = owner.error;
    } else if (result != CUDA_SUCCESS) {
        record.detail += ", \"skipped\": true";
    }
    record.end = op->end = now();
    record.result = result;
    write(record);
    lock.unlock();
    op->work.run = nullptr;  // may be the last to hold a graph's user objects, whose destructors are anybody's code
    lock.lock();
    op->after.clear();
    op->done = true;
    stream.queue.pop_front();
}

void work(Stream& stream) {
    Lock lock(machine());
    for (;;) {
        changed().wait(lock, [&] {
            return stream.queue.empty() ? !stream.alive : ready(*stream.queue.front());
        });
        if (stream.queue.empty()) {
            return;
        }
        stream.busy = true;
        execute(lock, stream);
        stream.busy = false;
        changed().notify_all();
    }
}

std::vector<OpPtr> implied(Stream& stream) {
    std::vector<OpPtr> after;
    Context& owner = *stream.context;
    if (&stream == owner.legacy) {
        for (Stream* other : owner.streams) {
            if (other != &stream && other->blocking() && other->last && !other->last->done) {
                after.push_back(other->last);
            }
        }
    } else if (stream.blocking() && owner.legacy->last && !owner.legacy->last->done) {
        after.push_back(owner.legacy->last);
    }
    return after;
}

// "Any use of the legacy stream implies a dependency on the streams that are being captured".
void refuse_implicit(Stream& stream) {
    if (&stream != stream.context->legacy) {
        return;
    }
    for (Stream* other : stream.context->streams) {
        if (other->capture && other->blocking()) {
            break_capture(*other, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        }
    }
}

}  // namespace

std::mutex& machine() {
    static auto* mutex = new std::mutex;
    return *mutex;
}

bool& in_work() {
    thread_local bool flag = false;
    return flag;
}

uint64_t Stream::number() const {
    return this == context->legacy ? 1 : reinterpret_cast<uint64_t>(this);
}

Stream& new_stream(Context& owner, unsigned int flags, int priority) {
    static uint64_t ids = 0;
    auto* made = new Stream;
    made->context = &owner;
    made->flags = flags;
    made->priority = priority;
    made->id = ++ids;
    owner.streams.push_back(made);
    return *made;
}

Stream& stream(CUstream handle) {
    const bool own = handle == CU_STREAM_PER_THREAD || (handle == nullptr && per_thread_default());
    Stream* found = nullptr;
    if (own) {
        thread_local std::unordered_map<Context*, Stream*> streams;
        Stream*& mine = streams[&current()];
        if (mine == nullptr) {
            mine = &new_stream(current(), CU_STREAM_DEFAULT, 0);
            mine->is_default = true;
        }
        found = mine;
    } else if (handle == nullptr || handle == CU_STREAM_LEGACY) {
        found = current().legacy;
    } else {
        found = &object<Stream>(Kind::stream, handle);
    }
    require(found->context->alive, CUDA_ERROR_CONTEXT_IS_DESTROYED);
    call().record.stream = found->number();
    call().record.device = found->context->device->ordinal;
    if (found->context->error != CUDA_SUCCESS) {
        fail(found->context->error);
    }
    return *found;
}

OpPtr enqueue(Stream& stream, Work work, std::vector<OpPtr> after) {
    refuse_implicit(stream);
    Record& record = work.record;
    const Record& frame = call().record;
    record.call = frame.call;
    record.sequence = frame.sequence;
    record.called = frame.called;
    record.device = stream.context->device->ordinal;
    record.stream = stream.number();
    if (stream.capture) {
        if (stream.capture->invalid) {
            fail(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        }
        call().record.kind = "captured";
        call().record.bytes = record.bytes;
        call().record.detail = record.detail;
        Graph& graph = *stream.capture->graph;
        graph.nodes.push_back({std::move(work), stream.tail});
        stream.tail = {graph.nodes.size() - 1};
        return nullptr;
    }
    auto op = std::make_shared<Op>();
    op->work = std::move(work);
    op->stream = &stream;
    op->after = std::move(after);
    for (const OpPtr& other : implied(stream)) {
        op->after.push_back(other);
    }
    stream.queue.push_back(op);
    stream.last = op;
    call().enqueued = true;
    if (!settings().late && !stream.has_worker) {
        stream.has_worker = true;
        std::thread([&stream] { standin::work(stream); }).detach();
    }
    changed().notify_all();
    return op;
}

void finish(Lock& lock, const OpPtr& op) {
    if (!op) {
        return;
    }
    if (!settings().late) {
        changed().wait(lock, [&] { return op->done; });
        return;
    }
    Stream& stream = *op->stream;
    while (!op->done) {
        if (stream.busy) {
            changed().wait(lock);
            continue;
        }
        stream.busy = true;
        for (const OpPtr& other : std::vector<OpPtr>(stream.queue.front()->after)) {
            finish(lock, other);
        }
        execute(lock, stream);
        stream.busy = false;
        changed().notify_all();
    }
}

void finish(Lock& lock, Stream& stream) {
    finish(lock, OpPtr(stream.last));
}

void retire(Stream& stream) {
    stream.alive = false;
    changed().notify_all();
}

void finish(Lock& lock, Context& context) {
    const std::vector<Stream*> streams(context.streams.rbegin(), context.streams.rend());
    for (Stream* each : streams) {
        finish(lock, *each);
    }
}

// A program may poll instead of waiting, so in the order "late" the third question in a row lets one operation run.
bool idle(Lock& lock, const OpPtr& op) {
    if (!op || op->done) {
        return true;
    }
    if (settings().late) {
        thread_local int questions = 0;
        if (++questions % 3 == 0 && !op->stream->busy) {
            finish(lock, OpPtr(op->stream->queue.front()));
        }
    }
    return op->done;
}

std::vector<std::shared_ptr<Capture>>& captures() {
    static auto* list = new std::vector<std::shared_ptr<Capture>>;
    return *list;
}

void break_capture(Stream& stream, CUresult code) {
    stream.capture->invalid = true;
    fail(code);
}

CUstreamCaptureMode& thread_capture_mode() {
    thread_local CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    return mode;
}

void not_while_capturing() {
    const CUstreamCaptureMode mode = thread_capture_mode();
    for (const auto& capture : captures()) {
        const bool mine = capture->thread == std::this_thread::get_id();
        const bool forbidden = mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
                               ((mine && capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED) ||
                                (!mine && mode == CU_STREAM_CAPTURE_MODE_GLOBAL &&
                                 capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL));
        if (forbidden) {
            capture->invalid = true;
            fail(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
}

void not_while_capturing(Context& context) {
    for (Stream* each : context.streams) {
        if (each->capture) {
            break_capture(*each, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        }
    }
}

}  // namespace standin
