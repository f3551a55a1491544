// A stand-in for libcuda.so.1: CUDA's public driver API on imaginary devices, for tests on machines without a GPU.
//
// Device memory is host memory at the same address. What is enqueued on a stream runs later, so that a forgotten
// synchronisation shows as a wrong result; kernels are functions of a host build of the same source. Where NVIDIA's
// documentation leaves a choice, the stand-in takes the one that forgives least. README.md lists what it does not do.
//
// Only the public API: libcudart's private tables are not imitated, so whatever needs libcudart fails on it.
#pragma once

#include <cuda.h>
#include <stdint.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace standin {

using Lock = std::unique_lock<std::mutex>;

// Thrown inside an entry point; becomes its result.
struct Failure {
    CUresult code;
};

[[noreturn]] inline void fail(CUresult code) {
    throw Failure{code};
}

inline void require(bool holds, CUresult otherwise = CUDA_ERROR_INVALID_VALUE) {
    if (!holds) {
        fail(otherwise);
    }
}

// ---- settings.cpp: what the environment says

struct Settings {
    int devices, version, multiprocessors;
    std::vector<int> capabilities;  // 89 is 8.9; the last one is also that of the devices after it
    size_t memory;                  // bytes of each device
    std::string name, kernels, trace;
    bool late;           // run work only when somebody waits for it, instead of in one thread for each stream
    int64_t delay;       // microseconds: every piece of work begins after a random wait of at most this
    uint32_t seed;
};
const Settings& settings();

// ---- trace.cpp

int64_t now();  // nanoseconds of the monotonic clock

// One line of the trace: a call, and the execution of what it enqueued where it enqueued something.
struct Record {
    std::string call, kind, detail;  // detail: more members of the JSON object, beginning with a comma
    int64_t sequence = 0, called = 0, begin = 0, end = 0;
    uint64_t bytes = 0, stream = 0, address = 0;
    int device = -1, result = 0;
};
void write(const Record& record);

// A fault asked for: the result of this call or, for a name beginning with @, of this execution.
struct Fault {
    CUresult code = CUDA_SUCCESS;
    bool sticky = false;
};
Fault fault_of_call(const std::string& name);
Fault fault_of_execution(const std::string& kind);

// ---- devices.cpp: devices and contexts

struct Stream;
struct Allocation;

struct Device {
    int ordinal = 0;
    size_t used = 0, peak = 0;
    struct Context* primary = nullptr;
    int retained = 0;
    unsigned int primary_flags = 0;
};

struct Context {
    Device* device = nullptr;
    unsigned int flags = 0;
    uint64_t id = 0;
    bool alive = true;
    int usage = 1;  // of cuCtxAttach and cuCtxDetach
    CUresult error = CUDA_SUCCESS;  // sticky: every call but the context's destruction returns it
    Stream* legacy = nullptr;
    std::vector<Stream*> streams;  // the default streams too; destroyed ones until they are empty
};

Device& device(int ordinal);
std::vector<Device>& devices();
Context& context(CUcontext handle);
Context& current();
Context* current_or_null();
void destroy(Lock& lock, Context& context);

// ---- engine.cpp: streams, and the work on them

struct Work {
    Record record;
    std::function<CUresult()> run;  // runs without the lock; null where only the order matters
};

struct Op {
    Work work;
    Stream* stream = nullptr;
    std::vector<std::shared_ptr<Op>> after;
    bool done = false;
    int64_t end = 0;
};
using OpPtr = std::shared_ptr<Op>;

struct Node {
    Work work;
    std::vector<size_t> after;
};

// What a graph keeps alive: destroyed with the last graph, executable graph or launch that holds it.
struct UserObject {
    CUhostFn destroy;
    void* data;
    ~UserObject() { destroy(data); }
};

struct Graph {
    std::deque<Node> nodes;  // a node's address is its handle
    std::vector<std::shared_ptr<UserObject>> kept;
};

struct Capture {
    std::shared_ptr<Graph> graph = std::make_shared<Graph>();
    CUgraph handle = nullptr;
    Stream* origin = nullptr;
    CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
    std::thread::id thread;
    uint64_t id = 0;
    bool invalid = false, ended = false;
    std::vector<Stream*> streams;
};

struct Stream {
    Context* context = nullptr;
    unsigned int flags = 0;
    int priority = 0;
    uint64_t id = 0;
    bool alive = true, is_default = false, has_worker = false, busy = false;
    std::deque<OpPtr> queue;
    OpPtr last;  // what was enqueued last, finished or not
    std::shared_ptr<Capture> capture;
    std::vector<size_t> tail;  // in a capture: the nodes that the next one comes after
    std::vector<CUgraphNode> tail_handles;
    bool blocking() const { return (flags & CU_STREAM_NON_BLOCKING) == 0; }
    uint64_t number() const;  // the handle, as the trace has it
};

struct Event {
    unsigned int flags = 0;
    Context* context = nullptr;
    OpPtr op;  // of the last record
    std::shared_ptr<Capture> capture;
    std::vector<size_t> nodes;
};

std::mutex& machine();
bool& in_work();  // whether this thread is running something that was enqueued
Stream& stream(CUstream handle);
Stream& new_stream(Context& context, unsigned int flags, int priority);
OpPtr enqueue(Stream& stream, Work work, std::vector<OpPtr> after = {});  // into the capture where there is one
void finish(Lock& lock, const OpPtr& op);                                 // null is finished
void finish(Lock& lock, Stream& stream);
void finish(Lock& lock, Context& context);
bool idle(Lock& lock, const OpPtr& op);  // for queries
void break_capture(Stream& stream, CUresult code);
void not_while_capturing();                // for calls that CUDA calls potentially unsafe
void not_while_capturing(Context& context);
std::vector<std::shared_ptr<Capture>>& captures();
CUstreamCaptureMode& thread_capture_mode();
void retire(Stream& stream);  // it takes nothing more, but what is on it still runs

// ---- calls.h has the entry points' frame

struct Call {
    Record record;
    Lock lock;
    bool enqueued = false;  // the record is written when the work has run
};
Call& call();  // the entry point that this thread is in

bool per_thread_default();  // whether stream 0 means the thread's own stream in this call

// ---- objects.cpp: handles, and what is left of them

enum class Kind { stream, event, graph, graph_exec, user_object, module, function, pool, context };
const char* name_of(Kind kind);

void* enter(Kind kind, void* object);                      // returns object
void leave(Kind kind, const void* object);                 // fails with INVALID_HANDLE for what is not there
bool known(Kind kind, const void* object);
size_t count(Kind kind);

template <class Object, class Handle>
Object& object(Kind kind, Handle handle) {
    require(known(kind, handle), CUDA_ERROR_INVALID_HANDLE);
    return *reinterpret_cast<Object*>(handle);
}

// ---- memory.cpp

enum class Space { device, host, registered, managed };

struct Pool {
    Device* device = nullptr;
    Space space = Space::device;
    size_t used = 0, peak = 0;
    uint64_t release_threshold = 0;
};

struct Allocation {
    uintptr_t base = 0;
    size_t bytes = 0;
    Space space = Space::device;
    Device* device = nullptr;
    Context* context = nullptr;
    Pool* pool = nullptr;
    uint64_t id = 0;
    unsigned int flags = 0;
    void* mapping = nullptr;
    size_t mapped = 0;
    std::string call;
    bool freed = false;      // by cuMemFreeAsync, which may not have run yet
    bool touchable = true;   // not before cuMemAllocAsync has run, not after the memory was released
};

Allocation* find_allocation(uintptr_t address);  // the allocation around an address, null for ordinary host memory
std::vector<const Allocation*> allocations();
bool device_may_touch(uintptr_t address, size_t bytes);
void release_all(Context& context);
Allocation& allocate(size_t bytes, Space space, Pool* pool);  // in the current context
Allocation& exactly(uintptr_t address);                      // the living allocation that begins there
void release(Allocation& gone);

}  // namespace standin
