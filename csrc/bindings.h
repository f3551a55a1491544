// One function per binding file; module.cpp calls them all.
#pragma once

#include <pybind11/pybind11.h>

namespace srgan {

void bind_instruction_sets(pybind11::module_& module);
void bind_pack(pybind11::module_& module);
void bind_unpack(pybind11::module_& module);

}  // namespace srgan
