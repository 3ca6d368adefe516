// Rows of a batch out of samples that were uploaded once.
//
// Rows overlap, so each is cut where it is needed. One block row (blockIdx.y) a row; threads stride over its samples.

// samples [any]; starts [rows], where each row begins in samples; out [rows, length].
extern "C" __global__ void gather(const float *samples, const int *starts, float *out, int length) {
  const int row = blockIdx.y;
  const float *from = samples + starts[row];
  float *to = out + (long long)row * length;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < length; i += gridDim.x * blockDim.x) {
    to[i] = from[i];
  }
}
