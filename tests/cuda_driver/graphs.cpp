// Stream capture and graphs. Only what capture makes: nodes cannot be added or changed by hand. A launch puts a graph's
// nodes on the stream one after another, in the order of capture: independent branches do not overlap.
#include <algorithm>

#include "calls.h"

using namespace standin;

namespace {

using Shared = std::shared_ptr<Graph>;

CUgraph graph_handle(const Shared& graph) {
    return static_cast<CUgraph>(enter(Kind::graph, new Shared(graph)));
}

Shared& graph(CUgraph handle) {
    return object<Shared>(Kind::graph, handle);
}

// Whether every node of the capture comes before what the origin's next one would.
bool joined(const Capture& capture) {
    const std::deque<Node>& nodes = capture.graph->nodes;
    std::vector<bool> reached(nodes.size(), false);
    std::vector<size_t> open = capture.origin->tail;
    while (!open.empty()) {
        const size_t node = open.back();
        open.pop_back();
        if (!reached[node]) {
            reached[node] = true;
            open.insert(open.end(), nodes[node].after.begin(), nodes[node].after.end());
        }
    }
    return std::find(reached.begin(), reached.end(), false) == reached.end();
}

void instantiate(CUgraphExec* out, CUgraph handle) {
    auto* made = new Shared(std::make_shared<Graph>(*graph(handle)));
    *out = static_cast<CUgraphExec>(enter(Kind::graph_exec, made));
    call().record.detail = ", \"nodes\": " + std::to_string((*made)->nodes.size());
    call().record.address = reinterpret_cast<uint64_t>(made);
}

// What the graph kept may be destroyed here, by anybody's code: without the lock.
void destroy_graph(Call& call, Kind kind, void* handle) {
    leave(kind, handle);
    const Shared gone = std::move(*static_cast<Shared*>(handle));
    call.record.address = reinterpret_cast<uint64_t>(handle);
    call.lock.unlock();
}

struct Reference {
    std::shared_ptr<UserObject> object;
    unsigned int count;
    const UserObject* raw;
};

void drop(Call& call, Reference& from, unsigned int count) {
    require(count > 0 && count <= from.count);
    from.count -= count;
    if (from.count == 0) {
        leave(Kind::user_object, &from);
        const std::shared_ptr<UserObject> gone = std::move(from.object);
        call.lock.unlock();
    }
}

CUstreamCaptureStatus status(const Stream& stream) {
    if (!stream.capture) {
        return CU_STREAM_CAPTURE_STATUS_NONE;
    }
    return stream.capture->invalid ? CU_STREAM_CAPTURE_STATUS_INVALIDATED : CU_STREAM_CAPTURE_STATUS_ACTIVE;
}

}  // namespace

CUresult CUDAAPI cuStreamBeginCapture(CUstream which, CUstreamCaptureMode mode) {
    return entry("cuStreamBeginCapture", Needs::init, [&](Call&) {
        static uint64_t ids = 0;
        Stream& origin = stream(which);
        require(&origin != origin.context->legacy, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        require(!origin.capture, CUDA_ERROR_ILLEGAL_STATE);
        auto capture = std::make_shared<Capture>();
        capture->origin = &origin;
        capture->mode = mode;
        capture->thread = std::this_thread::get_id();
        capture->id = ++ids;
        capture->handle = graph_handle(capture->graph);
        capture->streams = {&origin};
        captures().push_back(capture);
        origin.capture = capture;
        origin.tail.clear();
    });
}

CUresult CUDAAPI cuStreamEndCapture(CUstream which, CUgraph* out) {
    return entry("cuStreamEndCapture", Needs::init, [&](Call& call) {
        *out = nullptr;
        Stream& origin = stream(which);
        const std::shared_ptr<Capture> capture = origin.capture;
        require(capture != nullptr, CUDA_ERROR_ILLEGAL_STATE);
        require(capture->origin == &origin, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
        require(capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED || capture->thread == std::this_thread::get_id(),
                CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD);
        const bool complete = joined(*capture);
        for (Stream* each : capture->streams) {
            each->capture = nullptr;
            each->tail.clear();
        }
        capture->ended = true;
        captures().erase(std::find(captures().begin(), captures().end(), capture));
        if (capture->invalid || !complete) {
            leave(Kind::graph, capture->handle);
            fail(capture->invalid ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
        }
        *out = capture->handle;
        call.record.detail = ", \"nodes\": " + std::to_string(capture->graph->nodes.size());
    });
}

CUresult CUDAAPI cuStreamIsCapturing(CUstream which, CUstreamCaptureStatus* out) {
    return entry("cuStreamIsCapturing", Needs::init, [&](Call&) { *out = status(stream(which)); });
}

CUresult CUDAAPI cuStreamGetCaptureInfo(CUstream which, CUstreamCaptureStatus* out, cuuint64_t* id, CUgraph* graph_out,
                                        const CUgraphNode** nodes, const CUgraphEdgeData** edges, size_t* count) {
    return entry("cuStreamGetCaptureInfo", Needs::init, [&](Call&) {
        Stream& asked = stream(which);
        *out = status(asked);
        asked.tail_handles.clear();
        if (asked.capture) {
            for (size_t node : asked.tail) {
                asked.tail_handles.push_back(reinterpret_cast<CUgraphNode>(&asked.capture->graph->nodes[node]));
            }
        }
        if (id != nullptr) {
            *id = asked.capture ? asked.capture->id : 0;
        }
        if (graph_out != nullptr) {
            *graph_out = asked.capture ? asked.capture->handle : nullptr;
        }
        if (nodes != nullptr) {
            *nodes = asked.tail_handles.data();
        }
        if (edges != nullptr) {
            *edges = nullptr;
        }
        if (count != nullptr) {
            *count = asked.tail_handles.size();
        }
    });
}

CUresult CUDAAPI cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
    return entry("cuThreadExchangeStreamCaptureMode", Needs::init,
                 [&](Call&) { std::swap(*mode, thread_capture_mode()); });
}

CUresult CUDAAPI cuGraphInstantiate(CUgraphExec* out, CUgraph handle, unsigned long long) {
    return entry("cuGraphInstantiate", Needs::context, [&](Call&) { instantiate(out, handle); });
}

CUresult CUDAAPI cuGraphInstantiateWithParams(CUgraphExec* out, CUgraph handle, CUDA_GRAPH_INSTANTIATE_PARAMS* params) {
    return entry("cuGraphInstantiate", Needs::context, [&](Call&) {
        params->hErrNode_out = nullptr;
        params->result_out = CUDA_GRAPH_INSTANTIATE_ERROR;
        instantiate(out, handle);
        params->result_out = CUDA_GRAPH_INSTANTIATE_SUCCESS;
    });
}

CUresult CUDAAPI cuGraphUpload(CUgraphExec exec, CUstream on) {
    return entry("cuGraphUpload", Needs::init, [&](Call&) {
        object<Shared>(Kind::graph_exec, exec);
        Work work;
        work.record.kind = "graph upload";
        enqueue(stream(on), std::move(work));
    });
}

CUresult CUDAAPI cuGraphLaunch(CUgraphExec exec, CUstream on) {
    return entry("cuGraphLaunch", Needs::init, [&](Call& call) {
        const Shared launched = object<Shared>(Kind::graph_exec, exec);
        Stream& where = stream(on);
        require(!where.capture, CUDA_ERROR_NOT_SUPPORTED);
        call.record.address = reinterpret_cast<uint64_t>(exec);
        for (const Node& node : launched->nodes) {
            Work work = node.work;
            work.record.detail += ", \"graph\": " + std::to_string(call.record.address);
            work.run = [inner = std::move(work.run), launched] { return inner(); };
            enqueue(where, std::move(work));
        }
    });
}

CUresult CUDAAPI cuGraphExecDestroy(CUgraphExec exec) {
    return entry("cuGraphExecDestroy", Needs::init, [&](Call& call) { destroy_graph(call, Kind::graph_exec, exec); });
}

CUresult CUDAAPI cuGraphDestroy(CUgraph handle) {
    return entry("cuGraphDestroy", Needs::init, [&](Call& call) { destroy_graph(call, Kind::graph, handle); });
}

CUresult CUDAAPI cuGraphGetNodes(CUgraph handle, CUgraphNode* nodes, size_t* count) {
    return entry("cuGraphGetNodes", Needs::init, [&](Call&) {
        Graph& asked = *graph(handle);
        if (nodes != nullptr) {
            for (size_t i = 0; i < *count; ++i) {
                nodes[i] = i < asked.nodes.size() ? reinterpret_cast<CUgraphNode>(&asked.nodes[i]) : nullptr;
            }
        }
        *count = asked.nodes.size();
    });
}

CUresult CUDAAPI cuUserObjectCreate(CUuserObject* out, void* data, CUhostFn destroy, unsigned int count, unsigned int) {
    return entry("cuUserObjectCreate", Needs::init, [&](Call&) {
        require(destroy != nullptr && count > 0);
        auto* object = new UserObject{destroy, data};
        auto* made = new Reference{std::shared_ptr<UserObject>(object), count, object};
        *out = static_cast<CUuserObject>(enter(Kind::user_object, made));
    });
}

CUresult CUDAAPI cuUserObjectRetain(CUuserObject handle, unsigned int count) {
    return entry("cuUserObjectRetain", Needs::init,
                 [&](Call&) { object<Reference>(Kind::user_object, handle).count += count; });
}

CUresult CUDAAPI cuUserObjectRelease(CUuserObject handle, unsigned int count) {
    return entry("cuUserObjectRelease", Needs::init,
                 [&](Call& call) { drop(call, object<Reference>(Kind::user_object, handle), count); });
}

CUresult CUDAAPI cuGraphRetainUserObject(CUgraph to, CUuserObject handle, unsigned int count, unsigned int flags) {
    return entry("cuGraphRetainUserObject", Needs::init, [&](Call& call) {
        Reference& held = object<Reference>(Kind::user_object, handle);
        graph(to)->kept.insert(graph(to)->kept.end(), count, held.object);
        if (flags == CU_GRAPH_USER_OBJECT_MOVE) {
            drop(call, held, count);
        }
    });
}

CUresult CUDAAPI cuGraphReleaseUserObject(CUgraph from, CUuserObject handle, unsigned int count) {
    return entry("cuGraphReleaseUserObject", Needs::init, [&](Call& call) {
        // The caller's own references may all be gone: the graph's then is what keeps the handle's meaning.
        auto& kept = graph(from)->kept;
        const UserObject* sought = reinterpret_cast<Reference*>(handle)->raw;
        std::vector<std::shared_ptr<UserObject>> gone;
        for (auto each = kept.begin(); each != kept.end() && gone.size() < count;) {
            if (each->get() == sought) {
                gone.push_back(*each);
                each = kept.erase(each);
            } else {
                ++each;
            }
        }
        require(gone.size() == count);
        call.lock.unlock();
    });
}
