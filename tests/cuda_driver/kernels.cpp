// Modules, libraries, kernels. Machine code is not run: a kernel is the function of the same name in the host build
// that STANDIN_KERNELS names,
//   extern "C" void hostlaunch_NAME(const unsigned grid_block[6], void** arguments);
//   extern "C" const unsigned hostparams_NAME[];   {count, size of the first, ...}
// But a cubin must be for this device, and hold the kernel that is asked for.
#include <dlfcn.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "calls.h"

using namespace standin;

namespace {

struct Module {
    std::string image;  // the whole cubin or PTX
    std::vector<struct Function*> functions;
};

struct Function {
    std::string name;
    Module* module = nullptr;
    void (*run)(const unsigned int*, void**) = nullptr;
    std::vector<size_t> sizes;
    int dynamic_shared = 49152;
};

void* host_build() {
    static void* const opened = [] {
        void* found = settings().kernels.empty() ? nullptr : dlopen(settings().kernels.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (found == nullptr && !settings().kernels.empty()) {
            fprintf(stderr, "stand-in driver: %s\n", dlerror());
        }
        return found;
    }();
    return opened;
}

size_t elf_size(const Elf64_Ehdr& header) {
    size_t size = header.e_shoff + size_t{header.e_shnum} * header.e_shentsize;
    const auto* sections = reinterpret_cast<const Elf64_Shdr*>(reinterpret_cast<const char*>(&header) + header.e_shoff);
    for (int i = 0; i < header.e_shnum; ++i) {
        if (sections[i].sh_type != SHT_NOBITS) {
            size = std::max<size_t>(size, sections[i].sh_offset + sections[i].sh_size);
        }
    }
    return size;
}

// The compute capability in a cubin's header: LLVM's ELF.h, EF_CUDA_SM (the second byte since ABI version 8).
int architecture(const Elf64_Ehdr& header) {
    return header.e_ident[EI_ABIVERSION] >= 8 ? header.e_flags >> 8 & 0xff : header.e_flags & 0xff;
}

int device_architecture() {
    const int ordinal = current_or_null() != nullptr ? current().device->ordinal : 0;
    const std::vector<int>& list = settings().capabilities;
    return list[std::min<size_t>(ordinal, list.size() - 1)];
}

Module* load(const void* image) {
    require(image != nullptr);
    auto made = std::make_unique<Module>();
    const auto& header = *static_cast<const Elf64_Ehdr*>(image);
    if (memcmp(image, ELFMAG, SELFMAG) == 0) {
        require(header.e_machine == 190, CUDA_ERROR_INVALID_IMAGE);  // EM_CUDA
        const int built = architecture(header), wanted = device_architecture();
        call().record.detail = ", \"architecture\": " + std::to_string(built);
        require(built / 10 == wanted / 10 && built <= wanted, CUDA_ERROR_NO_BINARY_FOR_GPU);
        made->image.assign(static_cast<const char*>(image), elf_size(header));
    } else {
        const char* text = static_cast<const char*>(image);
        const size_t length = strnlen(text, 64 << 20);
        made->image.assign(text, length);
        require(made->image.find(".version") != std::string::npos, CUDA_ERROR_INVALID_IMAGE);
    }
    return static_cast<Module*>(enter(Kind::module, made.release()));
}

Function* look_up(Module& module, const char* name) {
    for (Function* each : module.functions) {
        if (each->name == name) {
            return each;
        }
    }
    const bool elf = module.image.compare(0, SELFMAG, ELFMAG) == 0;
    const std::string sought = elf ? std::string(".text.") + name + '\0' : std::string(name) + "(";
    require(module.image.find(sought) != std::string::npos, CUDA_ERROR_NOT_FOUND);
    require(host_build() != nullptr, CUDA_ERROR_NOT_FOUND);
    auto made = std::make_unique<Function>();
    made->name = name;
    made->module = &module;
    made->run = reinterpret_cast<void (*)(const unsigned int*, void**)>(
        dlsym(host_build(), ("hostlaunch_" + made->name).c_str()));
    const auto* sizes = static_cast<const unsigned int*>(dlsym(host_build(), ("hostparams_" + made->name).c_str()));
    require(made->run != nullptr && sizes != nullptr, CUDA_ERROR_NOT_FOUND);
    made->sizes.assign(sizes + 1, sizes + 1 + sizes[0]);
    module.functions.push_back(made.get());
    return static_cast<Function*>(enter(Kind::function, made.release()));
}

void unload(void* handle) {
    for (Function* each : object<Module>(Kind::module, handle).functions) {
        leave(Kind::function, each);
    }
    leave(Kind::module, handle);
}

size_t offset_of(const Function& function, size_t index) {
    size_t offset = 0;
    for (size_t i = 0;; ++i) {
        const size_t size = function.sizes[i], unit = std::min<size_t>(size & (~size + 1), 16);
        offset = (offset + unit - 1) / unit * unit;
        if (i == index) {
            return offset;
        }
        offset += size;
    }
}

// A launch's arguments, copied when it was called.
using Arguments = std::vector<std::vector<uint64_t>>;

Arguments copy_arguments(const Function& function, void** given, void** extra) {
    const char* packed = nullptr;
    size_t packed_size = 0;
    for (void** option = extra; option != nullptr && *option != CU_LAUNCH_PARAM_END; option += 2) {
        if (option[0] == CU_LAUNCH_PARAM_BUFFER_POINTER) {
            packed = static_cast<const char*>(option[1]);
        } else if (option[0] == CU_LAUNCH_PARAM_BUFFER_SIZE) {
            packed_size = *static_cast<const size_t*>(option[1]);
        }
    }
    Arguments copied;
    for (size_t i = 0; i < function.sizes.size(); ++i) {
        const size_t size = function.sizes[i];
        require(given != nullptr || (packed != nullptr && offset_of(function, i) + size <= packed_size));
        copied.emplace_back((size + 7) / 8);
        memcpy(copied.back().data(), given != nullptr ? given[i] : packed + offset_of(function, i), size);
    }
    return copied;
}

// Only what looks like an address can be checked: eight bytes, more than 2^32. Memory of cuMemAlloc is its context's.
bool is_illegal(const Function& function, const Arguments& arguments, const Context& running) {
    const Lock lock(machine());
    for (size_t i = 0; i < arguments.size(); ++i) {
        const uint64_t value = arguments[i][0];
        if (function.sizes[i] != 8 || value >> 32 == 0) {
            continue;
        }
        const Allocation* found = find_allocation(value);
        const bool foreign = found != nullptr && found->space == Space::device && found->pool == nullptr &&
                             found->context != &running;
        if (foreign || !device_may_touch(value, 1)) {
            return true;
        }
    }
    return false;
}

void launch(Function& function, const unsigned int (&shape)[6], unsigned int shared, CUstream on, void** given,
            void** extra) {
    for (unsigned int extent : shape) {
        require(extent > 0);
    }
    require(shape[1] <= 65535 && shape[2] <= 65535 && shape[5] <= 64);
    require(uint64_t{shape[3]} * shape[4] * shape[5] <= 1024);
    require(shared <= static_cast<unsigned int>(function.dynamic_shared));
    auto arguments = std::make_shared<Arguments>(copy_arguments(function, given, extra));
    const std::vector<unsigned int> extents(shape, shape + 6);
    Work work;
    work.record.kind = "kernel";
    work.record.detail = ", \"kernel\": \"" + function.name + "\", \"grid\": [";
    for (size_t i = 0; i < 6; ++i) {
        work.record.detail += (i == 0 ? "" : i == 3 ? "], \"block\": [" : ", ") + std::to_string(extents[i]);
    }
    work.record.detail += "], \"arguments\": [";
    for (size_t i = 0; i < arguments->size(); ++i) {
        work.record.detail += (i == 0 ? "" : ", ") + std::to_string((*arguments)[i][0]);
    }
    work.record.detail += "]";
    Stream& where = stream(on);
    const Context& running = *where.context;
    work.run = [&function, &running, extents, arguments] {
        if (is_illegal(function, *arguments, running)) {
            return CUDA_ERROR_ILLEGAL_ADDRESS;
        }
        std::vector<void*> addresses;
        for (std::vector<uint64_t>& each : *arguments) {
            addresses.push_back(each.data());
        }
        function.run(extents.data(), addresses.data());
        return CUDA_SUCCESS;
    };
    enqueue(where, std::move(work));
}

Function& function(const void* handle) {
    return object<Function>(Kind::function, const_cast<void*>(handle));
}

int function_attribute(const Function& asked, CUfunction_attribute which) {
    switch (which) {
        case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
        case CU_FUNC_ATTRIBUTE_NUM_REGS: return 32;
        case CU_FUNC_ATTRIBUTE_PTX_VERSION:
        case CU_FUNC_ATTRIBUTE_BINARY_VERSION: return device_architecture();
        case CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES: return asked.dynamic_shared;
        default: return 0;
    }
}

void set_attribute(Function& asked, CUfunction_attribute which, int value) {
    if (which == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES) {
        asked.dynamic_shared = value;
    }
}

void parameter(const Function& asked, size_t index, size_t* offset, size_t* size) {
    require(index < asked.sizes.size());
    *offset = offset_of(asked, index);
    if (size != nullptr) {
        *size = asked.sizes[index];
    }
}

}  // namespace

CUresult CUDAAPI cuModuleLoadData(CUmodule* out, const void* image) {
    return entry("cuModuleLoadData", Needs::context, [&](Call&) { *out = reinterpret_cast<CUmodule>(load(image)); });
}

CUresult CUDAAPI cuModuleLoadDataEx(CUmodule* out, const void* image, unsigned int, CUjit_option*, void**) {
    return entry("cuModuleLoadDataEx", Needs::context, [&](Call&) { *out = reinterpret_cast<CUmodule>(load(image)); });
}

CUresult CUDAAPI cuModuleUnload(CUmodule handle) {
    return entry("cuModuleUnload", Needs::context, [&](Call&) { unload(handle); });
}

CUresult CUDAAPI cuModuleGetFunction(CUfunction* out, CUmodule handle, const char* name) {
    return entry("cuModuleGetFunction", Needs::context, [&](Call&) {
        *out = reinterpret_cast<CUfunction>(look_up(object<Module>(Kind::module, handle), name));
    });
}

CUresult CUDAAPI cuLibraryLoadData(CUlibrary* out, const void* image, CUjit_option*, void**, unsigned int,
                                   CUlibraryOption*, void**, unsigned int) {
    return entry("cuLibraryLoadData", Needs::init, [&](Call&) { *out = reinterpret_cast<CUlibrary>(load(image)); });
}

CUresult CUDAAPI cuLibraryUnload(CUlibrary handle) {
    return entry("cuLibraryUnload", Needs::init, [&](Call&) { unload(handle); });
}

CUresult CUDAAPI cuLibraryGetKernel(CUkernel* out, CUlibrary handle, const char* name) {
    return entry("cuLibraryGetKernel", Needs::init, [&](Call&) {
        *out = reinterpret_cast<CUkernel>(look_up(object<Module>(Kind::module, handle), name));
    });
}

CUresult CUDAAPI cuLibraryGetModule(CUmodule* out, CUlibrary handle) {
    return entry("cuLibraryGetModule", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUmodule>(&object<Module>(Kind::module, handle)); });
}

CUresult CUDAAPI cuKernelGetFunction(CUfunction* out, CUkernel handle) {
    return entry("cuKernelGetFunction", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUfunction>(&function(handle)); });
}

CUresult CUDAAPI cuKernelGetLibrary(CUlibrary* out, CUkernel handle) {
    return entry("cuKernelGetLibrary", Needs::init,
                 [&](Call&) { *out = reinterpret_cast<CUlibrary>(function(handle).module); });
}

CUresult CUDAAPI cuKernelGetName(const char** name, CUkernel handle) {
    return entry("cuKernelGetName", Needs::init, [&](Call&) { *name = function(handle).name.c_str(); });
}

CUresult CUDAAPI cuFuncGetName(const char** name, CUfunction handle) {
    return entry("cuFuncGetName", Needs::init, [&](Call&) { *name = function(handle).name.c_str(); });
}

CUresult CUDAAPI cuFuncGetAttribute(int* value, CUfunction_attribute which, CUfunction handle) {
    return entry("cuFuncGetAttribute", Needs::init,
                 [&](Call&) { *value = function_attribute(function(handle), which); });
}

CUresult CUDAAPI cuFuncSetAttribute(CUfunction handle, CUfunction_attribute which, int value) {
    return entry("cuFuncSetAttribute", Needs::init, [&](Call&) { set_attribute(function(handle), which, value); });
}

CUresult CUDAAPI cuKernelGetAttribute(int* value, CUfunction_attribute which, CUkernel handle, CUdevice) {
    return entry("cuKernelGetAttribute", Needs::init,
                 [&](Call&) { *value = function_attribute(function(handle), which); });
}

CUresult CUDAAPI cuKernelSetAttribute(CUfunction_attribute which, int value, CUkernel handle, CUdevice) {
    return entry("cuKernelSetAttribute", Needs::init, [&](Call&) { set_attribute(function(handle), which, value); });
}

CUresult CUDAAPI cuFuncGetParamInfo(CUfunction handle, size_t index, size_t* offset, size_t* size) {
    return entry("cuFuncGetParamInfo", Needs::init, [&](Call&) { parameter(function(handle), index, offset, size); });
}

CUresult CUDAAPI cuKernelGetParamInfo(CUkernel handle, size_t index, size_t* offset, size_t* size) {
    return entry("cuKernelGetParamInfo", Needs::init, [&](Call&) { parameter(function(handle), index, offset, size); });
}

CUresult CUDAAPI cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction handle, int threads, size_t) {
    return entry("cuOccupancyMaxActiveBlocksPerMultiprocessor", Needs::context, [&](Call&) {
        function(handle);
        require(threads > 0);
        *blocks = std::max(1, 1536 / threads);
    });
}

CUresult CUDAAPI cuLaunchKernel(CUfunction handle, unsigned int grid_x, unsigned int grid_y, unsigned int grid_z,
                                unsigned int block_x, unsigned int block_y, unsigned int block_z, unsigned int shared,
                                CUstream on, void** arguments, void** extra) {
    return entry("cuLaunchKernel", Needs::context, [&](Call&) {
        launch(function(handle), {grid_x, grid_y, grid_z, block_x, block_y, block_z}, shared, on, arguments, extra);
    });
}

CUresult CUDAAPI cuLaunchKernelEx(const CUlaunchConfig* about, CUfunction handle, void** arguments, void** extra) {
    return entry("cuLaunchKernelEx", Needs::context, [&](Call&) {
        require(about->numAttrs == 0, CUDA_ERROR_NOT_SUPPORTED);
        const CUlaunchConfig& given = *about;
        launch(function(handle),
               {given.gridDimX, given.gridDimY, given.gridDimZ, given.blockDimX, given.blockDimY, given.blockDimZ},
               given.sharedMemBytes, given.hStream, arguments, extra);
    });
}
