// cuGetProcAddress: names to functions, from the list of entry points that build.py reads out of cuda.h.
#include <stdio.h>
#include <string.h>

#include "calls.h"

using namespace standin;

namespace {

struct Row {
    int version;  // CUDA's, since when this name means this function
    void* function;
    void* per_thread;  // the same with per-thread default streams
};

std::multimap<std::string, Row>& rows() {
    static auto* made = new std::multimap<std::string, Row>;
    return *made;
}

void add(const char* name, int version, void* function, void* per_thread) {
    rows().insert({name, {version, function, per_thread}});
}

void add_stub(const char* name, int version, void* function) {
    add(name, version, function, function);
}

// standin_rows(add): one call of add for each entry point that is written here.
#include "generated.inc"

}  // namespace

void standin_stub_rows(void (*add)(const char*, int, void*));  // and for each that is not

namespace {

const std::multimap<std::string, Row>& table() {
    static const bool filled = [] {
        standin_rows(add);
        standin_stub_rows(add_stub);
        return true;
    }();
    (void)filled;
    return rows();
}

}  // namespace

// The function of the newest version that is not newer than the one asked for.
CUresult CUDAAPI cuGetProcAddress(const char* name, void** out, int version, cuuint64_t flags,
                                  CUdriverProcAddressQueryResult* result) {
    const auto range = table().equal_range(name);
    const Row* best = nullptr;
    for (auto row = range.first; row != range.second; ++row) {
        if (row->second.version <= version && (best == nullptr || row->second.version > best->version)) {
            best = &row->second;
        }
    }
    const bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    *out = best == nullptr ? nullptr : per_thread ? best->per_thread : best->function;
    if (result != nullptr) {
        *result = best != nullptr              ? CU_GET_PROC_ADDRESS_SUCCESS
                  : range.first == range.second ? CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND
                                                : CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT;
    }
    return best != nullptr ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

// Private tables, libcudart's among them, are not there. Driver libraries ask for them; this is the public answer.
CUresult CUDAAPI cuGetExportTable(const void** table, const CUuuid*) {
    return entry("cuGetExportTable", Needs::nothing, [&](Call&) {
        *table = nullptr;
        fail(CUDA_ERROR_NOT_FOUND);
    });
}
