#include <string>

#include "arguments.h"
#include "bindings.h"
#include "unpack.h"

namespace srgan {
namespace {

// 3 * r * r channels must be countable; no network comes near.
constexpr int64_t largest_shuffle = 1024;

// A ValueError unless [start, start + length) lies inside 0..available.
void check_region(const char* start_name, int64_t start, const char* length_name, int64_t length, int64_t available,
                  const char* what) {
    if (length > available || start > available - length) {
        throw py::value_error(std::string(start_name) + " and " + length_name + " must stay inside the " + what +
                              ": " + start_name + " " + std::to_string(start) + " and " + length_name + " " +
                              std::to_string(length) + " leave its " + std::to_string(available) + " pixels");
    }
}

template <class Level>
int64_t run(const CheckedArray& tensor, CheckedArray& image, int shuffle, const UnpackRegion& region, float scale,
            float bias, InstructionSet set) {
    UnpackJob<float, Level> job{};
    job.tensor = tensor.data<float>();
    job.tensor_height = tensor.shape[1];
    job.tensor_width = tensor.shape[2];
    job.shuffle = shuffle;
    job.image = image.mutable_data<Level>();
    job.image_width = image.shape[1];
    job.channels = image.shape[2];
    job.region = region;
    job.scale = scale;
    job.bias = bias;
    const py::gil_scoped_release released;
    return unpack(job, set);
}

int64_t unpack_binding(py::handle tensor_object, py::handle image_object, py::handle shuffle_object, py::handle top,
                       py::handle left, py::handle y, py::handle x, py::handle height, py::handle width,
                       py::handle scale, py::handle bias, py::handle instruction_set) {
    const int64_t shuffle = integer_argument(shuffle_object, "shuffle", 1);
    if (shuffle > largest_shuffle) {
        throw py::value_error("shuffle must be at most " + std::to_string(largest_shuffle) + ", it is " +
                              std::to_string(shuffle));
    }
    const CheckedArray tensor =
        tensor_argument(tensor_object, false, 3 * shuffle * shuffle, " (3 * shuffle * shuffle)");
    CheckedArray image = image_argument(image_object, true);
    UnpackRegion region{};
    region.top = integer_argument(top, "top", 0);
    region.left = integer_argument(left, "left", 0);
    region.y = integer_argument(y, "y", 0);
    region.x = integer_argument(x, "x", 0);
    region.height = integer_argument(height, "height", 1);
    region.width = integer_argument(width, "width", 1);
    check_region("top", region.top, "height", region.height, tensor.shape[1] * shuffle, "shuffled tensor");
    check_region("left", region.left, "width", region.width, tensor.shape[2] * shuffle, "shuffled tensor");
    check_region("y", region.y, "height", region.height, image.shape[0], "image");
    check_region("x", region.x, "width", region.width, image.shape[1], "image");
    const float factor = finite_argument(scale, "scale");
    const float offset = finite_argument(bias, "bias");
    const InstructionSet set = instruction_set_argument(instruction_set);
    const auto kernel = image.type == ElementType::uint8 ? &run<uint8_t> : &run<uint16_t>;
    return kernel(tensor, image, static_cast<int>(shuffle), region, factor, offset, set);
}

}  // namespace

void bind_unpack(py::module_& module) {
    module.def("unpack", &unpack_binding, py::arg("tensor"), py::arg("image"), py::kw_only(), py::arg("shuffle"),
               py::arg("top"), py::arg("left"), py::arg("y"), py::arg("x"), py::arg("height"), py::arg("width"),
               py::arg("scale"), py::arg("bias"), py::arg("instruction_set") = py::none(),
               "Shuffles, scales, clips and rounds a region of tensor (3*r*r, h, w) into image (H, W, 3|1).\n\n"
               "Returns how many values were not finite. See srgan_trt/_pixels.pyi for types and errors.");
}

}  // namespace srgan
