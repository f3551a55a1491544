// The trace: one JSON object a line, written when a call returns or, if it enqueued work, when that has run. And the
// faults that tests ask for.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "driver.h"

namespace standin {
namespace {

struct Order {
    std::string name;
    int64_t nth;
    Fault fault;
    int64_t seen = 0;
};

std::mutex& guard() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
}

// "cuMemAlloc:3:2": the third cuMemAlloc from now returns 2. "*" is any call, "@kernel" the execution of a kernel, "@*"
// of anything; a "!" at the end makes the error sticky whatever its code.
std::vector<Order> parse(const std::string& list) {
    std::vector<Order> orders;
    for (size_t at = 0; at < list.size();) {
        const size_t comma = std::min(list.find(',', at), list.size());
        const std::string item = list.substr(at, comma - at);
        const size_t first = item.find(':'), second = item.find(':', first + 1);
        if (first != std::string::npos && second != std::string::npos) {
            Order order{item.substr(0, first), atoll(item.c_str() + first + 1), {}};
            order.fault.code = static_cast<CUresult>(atoi(item.c_str() + second + 1));
            order.fault.sticky = item.back() == '!';
            orders.push_back(order);
        }
        at = comma + 1;
    }
    return orders;
}

std::vector<Order>& orders() {
    static auto* list = new std::vector<Order>(parse(getenv("STANDIN_FAULTS") ? getenv("STANDIN_FAULTS") : ""));
    return *list;
}

int64_t calls = 0;

Fault look_up(const std::string& name, const std::string& any) {
    Fault found;
    for (Order& order : orders()) {
        if ((order.name == name || order.name == any) && ++order.seen == order.nth) {
            found = order.fault;
        }
    }
    return found;
}

// Faults in what only looks something up would test nobody's recovery.
bool is_query(const std::string& name) {
    for (const char* part : {"cuGetErr", "cuGetProc", "cuDriverGet", "cuDeviceGetAttribute", "cuDeviceGetName",
                             "cuCtxGetCurrent", "cuCtxGetDevice"}) {
        if (name.rfind(part, 0) == 0) {
            return true;
        }
    }
    return false;
}

std::string json(const Record& record) {
    char numbers[400];
    snprintf(numbers, sizeof numbers,
             "\"sequence\": %lld, \"result\": %d, \"device\": %d, \"stream\": %llu, \"bytes\": %llu, "
             "\"address\": %llu, \"called\": %lld, \"begin\": %lld, \"end\": %lld",
             static_cast<long long>(record.sequence), record.result, record.device,
             static_cast<unsigned long long>(record.stream), static_cast<unsigned long long>(record.bytes),
             static_cast<unsigned long long>(record.address), static_cast<long long>(record.called),
             static_cast<long long>(record.begin), static_cast<long long>(record.end));
    return "{\"call\": \"" + record.call + "\", \"kind\": \"" + record.kind + "\", " + numbers + record.detail + "}\n";
}

int file() {
    static const int opened =
        settings().trace.empty() ? -1
                                 : open(settings().trace.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return opened;
}

std::string* kept = new std::string;

}  // namespace

int64_t now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return int64_t{time.tv_sec} * 1000000000 + time.tv_nsec;
}

void write(const Record& record) {
    const std::string line = json(record);
    const std::lock_guard<std::mutex> hold(guard());
    *kept += line;
    if (file() >= 0 && ::write(file(), line.data(), line.size()) < 0) {
        perror("stand-in driver: trace");
    }
}

Fault fault_of_call(const std::string& name) {
    if (is_query(name)) {
        return {};
    }
    const std::lock_guard<std::mutex> hold(guard());
    ++calls;
    return look_up(name, "*");
}

Fault fault_of_execution(const std::string& kind) {
    const std::lock_guard<std::mutex> hold(guard());
    return look_up("@" + kind, "@*");
}

}  // namespace standin

// What tests call through ctypes.
extern "C" {

__attribute__((visibility("default"))) void standin_faults(const char* list) {
    const std::lock_guard<std::mutex> hold(standin::guard());
    standin::orders() = standin::parse(list);
}

// How many calls "*" has counted since the process began.
__attribute__((visibility("default"))) long long standin_calls() {
    const std::lock_guard<std::mutex> hold(standin::guard());
    return standin::calls;
}

// The trace so far, at most size bytes of it; returns how long it is.
__attribute__((visibility("default"))) size_t standin_trace(char* out, size_t size) {
    const std::lock_guard<std::mutex> hold(standin::guard());
    memcpy(out, standin::kept->data(), std::min(size, standin::kept->size()));
    return standin::kept->size();
}

__attribute__((visibility("default"))) void standin_forget_trace() {
    const std::lock_guard<std::mutex> hold(standin::guard());
    standin::kept->clear();
}
}
