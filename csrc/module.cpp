// srgan_trt._pixels: the table of contents.
#include "bindings.h"

PYBIND11_MODULE(_pixels, module, pybind11::mod_gil_not_used()) {
    module.doc() = "Pixel kernels on the CPU: images to network tensors and back.";
    srgan::bind_instruction_sets(module);
    srgan::bind_pack(module);
    srgan::bind_unpack(module);
}
