// Checks of Python arguments: each failure is a TypeError or ValueError that names the argument and what it should be.
// Nothing is ever converted or copied: the kernels work on the caller's memory or not at all.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>

#include "instruction_set.h"

namespace srgan {

namespace py = pybind11;

enum class ElementType { uint8, uint16, float32 };

// An array that is known to be aligned, C-contiguous and of a known type; writable if that was asked for.
struct CheckedArray {
    py::array array;
    ElementType type;
    int64_t shape[3];

    template <class Element>
    const Element* data() const {
        return static_cast<const Element*>(array.data());
    }
    template <class Element>
    Element* mutable_data() {
        return static_cast<Element*>(array.mutable_data());
    }
};

// A (height, width, 3 or 1) uint8 or uint16 picture, at least one pixel.
CheckedArray image_argument(py::handle object, bool writable);

// A (channels, height, width) float32 tensor, at least one pixel; `channels` must be as given.
CheckedArray tensor_argument(py::handle object, bool writable, int64_t channels, const char* channels_meaning);

int64_t integer_argument(py::handle object, const char* name);
int64_t integer_argument(py::handle object, const char* name, int64_t lowest);
float finite_argument(py::handle object, const char* name);
InstructionSet instruction_set_argument(py::handle object);

}  // namespace srgan
