// Runs our kernels on the CPU: `emulator KERNEL THREADS NUMBERS... < input > output`, arrays of 4-byte values in the order of
// the kernel's arguments, each behind its length as 64 bits. Sizes of the grid follow from the numbers as `card.rs` sets them.
#include "cuda.hpp"

#define FRAME 400
#define FRAME_STEP 160
#define FFT 512
#define BINS 80
#include "../../../worker/src/device/cuda/kernels/fbank.cu"
#include "../../../worker/src/device/cuda/kernels/gather.cu"
#include "../../../worker/src/device/cuda/kernels/pooling.cu"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

// An array in the memory of the process, exactly as long as it is: a sanitizer sees what reads beside it.
struct Array {
  std::vector<float> values;
  const float *floats() const { return values.data(); }
  const int *ints() const { return reinterpret_cast<const int *>(values.data()); }
};

static Array read_array() {
  uint64_t length = 0;
  if (fread(&length, sizeof length, 1, stdin) != 1) exit(2);
  Array array{std::vector<float>(length)};
  if (fread(array.values.data(), 4, length, stdin) != length) exit(2);
  return array;
}

int main(int count, char **arguments) {
  const std::string kernel = arguments[1];
  const unsigned threads = atoi(arguments[2]);
  std::vector<unsigned> n;
  for (int i = 3; i < count; i++) n.push_back(atoi(arguments[i]));
  std::vector<float> out;
  auto room = [&](size_t values) { out.assign(values, NAN); return out.data(); };
  if (kernel == "gather") {  // rows length
    const auto samples = read_array(), starts = read_array();
    float *to = room(size_t(n[0]) * n[1]);
    emulate({3, n[0]}, threads, [&] { gather(samples.floats(), starts.ints(), to, n[1]); });
  } else if (kernel == "fbank") {  // rows frames scale
    const auto samples = read_array(), starts = read_array(), taper = read_array(), cosines = read_array(),
               sines = read_array(), first = read_array(), offsets = read_array(), weights = read_array();
    float *to = room(size_t(n[0]) * n[1] * BINS);
    emulate({n[1], n[0]}, threads, [&] {
      fbank(samples.floats(), starts.ints(), taper.floats(), cosines.floats(), sines.floats(), first.ints(), offsets.ints(),
            weights.floats(), to, n[1], float(n[2]));
    });
  } else if (kernel == "centre") {  // rows frames transposed
    const auto from = read_array();
    float *to = room(from.values.size());
    emulate({BINS, n[0]}, threads, [&] { centre(from.floats(), to, n[1], n[2]); });
  } else if (kernel == "pool") {  // rows channels steps speakers frames
    const auto features = read_array(), weights = read_array(), frame_of = read_array();
    float *to = room(size_t(n[0]) * n[3] * 2 * n[1]);
    emulate({(n[1] + TILE_CHANNELS - 1) / TILE_CHANNELS, n[0]}, threads, [&] {
      pool(features.floats(), weights.floats(), frame_of.ints(), to, n[1], n[2], n[3], n[4]);
    });
  } else if (kernel == "project") {  // rows width dimension
    const auto pooled = read_array(), dense = read_array(), bias = read_array();
    float *to = room(size_t(n[0]) * n[2]);
    emulate({(n[2] + threads - 1) / threads, n[0]}, threads,
            [&] { project(pooled.floats(), dense.floats(), bias.floats(), to, n[1], n[2]); });
  } else {
    return 2;
  }
  fwrite(out.data(), 4, out.size(), stdout);
}
