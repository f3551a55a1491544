// A kernel for the tests of the stand-in itself: NVRTC compiles it for the device, g++ for the host.
extern "C" __global__ void add(int* values, const int* more, short scale, int count) {
    for (int i = 0; i < count; ++i) {
        values[i] += scale * more[i];
    }
}
