// Handles are the addresses of objects that are never given back to the heap: a handle used after its end is an error
// that CUDA names, never a crash. And the report of what is left.
#include "driver.h"

#include <stdio.h>
#include <string.h>

namespace standin {
namespace {

std::map<Kind, std::unordered_set<const void*>>& tables() {
    static auto* found = new std::map<Kind, std::unordered_set<const void*>>;
    return *found;
}

}  // namespace

const char* name_of(Kind kind) {
    switch (kind) {
        case Kind::stream: return "streams";
        case Kind::event: return "events";
        case Kind::graph: return "graphs";
        case Kind::graph_exec: return "graph_execs";
        case Kind::user_object: return "user_objects";
        case Kind::module: return "modules";
        case Kind::function: return "functions";
        case Kind::pool: return "pools";
        case Kind::context: return "contexts";
    }
    return "";
}

void* enter(Kind kind, void* object) {
    tables()[kind].insert(object);
    return object;
}

void leave(Kind kind, const void* object) {
    require(tables()[kind].erase(object) == 1, CUDA_ERROR_INVALID_HANDLE);
}

bool known(Kind kind, const void* object) {
    return tables()[kind].count(object) == 1;
}

size_t count(Kind kind) {
    return tables()[kind].size();
}

}  // namespace standin

// What is allocated and alive, as a JSON object; returns its length, writes at most size bytes.
extern "C" __attribute__((visibility("default"))) size_t standin_leaks(char* out, size_t size) {
    using namespace standin;
    const Lock lock(machine());
    std::string text = "{\"allocations\": [";
    static const char* const spaces[] = {"device", "host", "registered", "managed"};
    const char* comma = "";
    for (const Allocation* each : allocations()) {
        char line[300];
        snprintf(line, sizeof line,
                 "%s{\"call\": \"%s\", \"space\": \"%s\", \"bytes\": %zu, \"address\": %zu, "
                 "\"device\": %d, \"id\": %llu}",
                 comma, each->call.c_str(), spaces[static_cast<int>(each->space)], each->bytes,
                 static_cast<size_t>(each->base), each->device == nullptr ? -1 : each->device->ordinal,
                 static_cast<unsigned long long>(each->id));
        text += line;
        comma = ", ";
    }
    text += "], \"devices\": [";
    comma = "";
    for (const Device& each : devices()) {
        char line[120];
        snprintf(line, sizeof line, "%s{\"used\": %zu, \"peak\": %zu, \"retained\": %d}", comma, each.used, each.peak,
                 each.retained);
        text += line;
        comma = ", ";
    }
    text += "]";
    for (Kind kind : {Kind::stream, Kind::event, Kind::graph, Kind::graph_exec, Kind::module, Kind::pool}) {
        text += std::string(", \"") + name_of(kind) + "\": " + std::to_string(count(kind));
    }
    text += "}";
    memcpy(out, text.data(), std::min(size, text.size()));
    return text.size();
}
