#include "arguments.h"
#include "bindings.h"
#include "pack.h"

namespace srgan {
namespace {

template <class Level>
void run(const CheckedArray& image, CheckedArray& tensor, int64_t y, int64_t x, float scale, float bias,
         InstructionSet set) {
    PackJob<Level, float> job{};
    job.image = image.data<Level>();
    job.image_height = image.shape[0];
    job.image_width = image.shape[1];
    job.channels = image.shape[2];
    job.tensor = tensor.mutable_data<float>();
    job.height = tensor.shape[1];
    job.width = tensor.shape[2];
    job.y = y;
    job.x = x;
    job.scale = scale;
    job.bias = bias;
    const py::gil_scoped_release released;
    pack(job, set);
}

void pack_binding(py::handle image_object, py::handle tensor_object, py::handle y, py::handle x, py::handle scale,
                  py::handle bias, py::handle instruction_set) {
    const CheckedArray image = image_argument(image_object, false);
    CheckedArray tensor = tensor_argument(tensor_object, true, 3, "");
    const int64_t origin_y = integer_argument(y, "y");
    const int64_t origin_x = integer_argument(x, "x");
    const float factor = finite_argument(scale, "scale");
    const float offset = finite_argument(bias, "bias");
    const InstructionSet set = instruction_set_argument(instruction_set);
    if (image.type == ElementType::uint8) {
        run<uint8_t>(image, tensor, origin_y, origin_x, factor, offset, set);
    } else {
        run<uint16_t>(image, tensor, origin_y, origin_x, factor, offset, set);
    }
}

}  // namespace

void bind_pack(py::module_& module) {
    module.def("pack", &pack_binding, py::arg("image"), py::arg("tensor"), py::kw_only(), py::arg("y"), py::arg("x"),
               py::arg("scale"), py::arg("bias"), py::arg("instruction_set") = py::none(),
               "Copies the window of image (H, W, 3|1) at (y, x) into tensor (3, h, w) as level * scale + bias.\n\n"
               "See srgan_trt/_pixels.pyi for types and errors.");
}

}  // namespace srgan
