#include "bindings.h"
#include "instruction_set.h"

namespace srgan {

namespace py = pybind11;

void bind_instruction_sets(py::module_& module) {
    module.def(
        "instruction_sets",
        [] {
            const std::vector<InstructionSet>& sets = instruction_sets();
            py::tuple names(sets.size());
            for (size_t i = 0; i < sets.size(); ++i) {
                names[i] = name_of(sets[i]);
            }
            return names;
        },
        "The instruction sets that the kernels can use on this CPU, the fastest (and default) first.");
}

}  // namespace srgan
