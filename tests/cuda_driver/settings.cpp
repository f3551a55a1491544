// What the environment says about the imaginary machine; tests/cuda_driver/standin.py sets it.
#include <stdlib.h>

#include "driver.h"

namespace standin {
namespace {

std::string text(const char* name, const char* otherwise) {
    const char* value = getenv(name);
    return value != nullptr && *value != '\0' ? value : otherwise;
}

int64_t number(const char* name, const char* otherwise) {
    return strtoll(text(name, otherwise).c_str(), nullptr, 10);
}

Settings read() {
    Settings found;
    found.devices = static_cast<int>(number("STANDIN_DEVICES", "1"));
    found.version = static_cast<int>(number("STANDIN_VERSION", "13000"));
    found.multiprocessors = static_cast<int>(number("STANDIN_MULTIPROCESSORS", "128"));
    const std::string list = text("STANDIN_CAPABILITY", "89");
    for (size_t at = 0; at < list.size();) {
        const size_t comma = std::min(list.find(',', at), list.size());
        found.capabilities.push_back(atoi(list.substr(at, comma - at).c_str()));
        at = comma + 1;
    }
    found.memory = static_cast<size_t>(number("STANDIN_MEMORY", "8589934592"));
    found.name = text("STANDIN_NAME", "Imaginary GPU");
    found.kernels = text("STANDIN_KERNELS", "");
    found.trace = text("STANDIN_TRACE", "");
    found.late = text("STANDIN_ORDER", "threads") == "late";
    found.delay = number("STANDIN_DELAY_US", "0");
    found.seed = static_cast<uint32_t>(number("STANDIN_SEED", "0"));
    return found;
}

}  // namespace

const Settings& settings() {
    static const Settings* found = new Settings(read());
    return *found;
}

}  // namespace standin
