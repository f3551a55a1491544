#include "arguments.h"

#include <cmath>
#include <limits>
#include <string>

namespace srgan {
namespace {

std::string type_name(py::handle object) {
    return py::str(py::type::handle_of(object).attr("__name__"));
}

std::string text_of(py::handle object) {
    return py::str(object);
}

// The element type, or a TypeError: exact types in the machine's byte order only.
ElementType element_type(const py::array& array, const char* name, bool is_image) {
    const py::dtype dtype = array.dtype();
    if (is_image && dtype.equal(py::dtype::of<uint8_t>())) {
        return ElementType::uint8;
    }
    if (is_image && dtype.equal(py::dtype::of<uint16_t>())) {
        return ElementType::uint16;
    }
    if (!is_image && dtype.equal(py::dtype::of<float>())) {
        return ElementType::float32;
    }
    throw py::type_error(std::string(name) + " must be of dtype " + (is_image ? "uint8 or uint16" : "float32") +
                         " in native byte order, not " + text_of(py::repr(dtype)));
}

CheckedArray array_argument(py::handle object, const char* name, const char* layout, bool is_image, bool writable) {
    if (!py::isinstance<py::array>(object)) {
        throw py::type_error(std::string(name) + " must be a NumPy array " + layout + ", not " + type_name(object));
    }
    const auto array = py::reinterpret_borrow<py::array>(object);
    const ElementType type = element_type(array, name, is_image);
    if (array.ndim() != 3) {
        throw py::value_error(std::string(name) + " must have 3 dimensions " + layout + ", not shape " +
                              text_of(object.attr("shape")));
    }
    if (array.size() == 0) {
        throw py::value_error(std::string(name) + " must not be empty, its shape is " + text_of(object.attr("shape")));
    }
    if ((array.flags() & py::array::c_style) == 0) {
        throw py::value_error(std::string(name) + " must be C-contiguous: pass numpy.ascontiguousarray(" + name + ")");
    }
    if ((array.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0) {
        throw py::value_error(std::string(name) + " must be aligned in memory: pass " + name + ".copy()");
    }
    if (writable && !array.writeable()) {
        throw py::value_error(std::string(name) + " must be writable, it is written to");
    }
    return CheckedArray{array, type, {array.shape(0), array.shape(1), array.shape(2)}};
}

}  // namespace

CheckedArray image_argument(py::handle object, bool writable) {
    const CheckedArray image = array_argument(object, "image", "(height, width, 3 or 1)", true, writable);
    if (image.shape[2] != 3 && image.shape[2] != 1) {
        throw py::value_error("image must have 3 channels or 1 as its last dimension, not shape " +
                              text_of(object.attr("shape")));
    }
    return image;
}

CheckedArray tensor_argument(py::handle object, bool writable, int64_t channels, const char* channels_meaning) {
    const CheckedArray tensor = array_argument(object, "tensor", "(channels, height, width)", false, writable);
    if (tensor.shape[0] != channels) {
        throw py::value_error("tensor must have " + std::to_string(channels) + " channels" + channels_meaning +
                              " as its first dimension, not shape " + text_of(object.attr("shape")));
    }
    return tensor;
}

int64_t integer_argument(py::handle object, const char* name) {
    const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (!index) {
        PyErr_Clear();
        throw py::type_error(std::string(name) + " must be an integer, not " + type_name(object));
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    if (overflow != 0) {
        throw py::value_error(std::string(name) + " must fit in 64 bits, it is " + text_of(index));
    }
    return value;
}

int64_t integer_argument(py::handle object, const char* name, int64_t lowest) {
    const int64_t value = integer_argument(object, name);
    if (value < lowest) {
        throw py::value_error(std::string(name) + " must be at least " + std::to_string(lowest) + ", it is " +
                              std::to_string(value));
    }
    return value;
}

float finite_argument(py::handle object, const char* name) {
    const double value = PyFloat_AsDouble(object.ptr());
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        throw py::type_error(std::string(name) + " must be a number, not " + type_name(object));
    }
    // Compared, not converted, first: the conversion of a double beyond float's range is undefined.
    if (!(std::abs(value) <= static_cast<double>(std::numeric_limits<float>::max()))) {
        throw py::value_error(std::string(name) + " must be finite as float32, it is " + text_of(object));
    }
    return static_cast<float>(value);
}

InstructionSet instruction_set_argument(py::handle object) {
    const std::vector<InstructionSet>& sets = instruction_sets();
    if (object.is_none()) {
        return sets.front();
    }
    std::string names;
    for (const InstructionSet set : sets) {
        if (py::isinstance<py::str>(object) && py::cast<std::string>(object) == name_of(set)) {
            return set;
        }
        names += names.empty() ? name_of(set) : std::string(", ") + name_of(set);
    }
    throw py::value_error("instruction_set must be None or one of " + names + ", not " + text_of(py::repr(object)));
}

}  // namespace srgan
