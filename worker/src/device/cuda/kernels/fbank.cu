// Kaldi-style log-mel filter banks, step by step what `diarize/fbank.rs` computes, and in the same precision.
//
// Macros, given when the source is compiled: FRAME, samples of a frame; FRAME_STEP, samples from one frame to the next;
// FFT, FRAME rounded up to a power of two; BINS, mel bins. A block has at most FBANK_BLOCK threads, a power of two.

#define FBANK_BLOCK 256
// Kaldi's `preemphasis_coefficient`, and the floor inside its logarithm.
#define PRE_EMPHASIS 0.97f
#define ENERGY_FLOOR 1.1920928955078125e-7f

// samples [any]; starts [rows]; taper [FRAME]; cosines and sines [FFT / 2] of 2 pi k / FFT; the triangle of bin b has the
// weights[offsets[b] .. offsets[b + 1]] from spectrum bin first_bins[b] on; out [rows, frames, BINS].
// Grid (frames, rows).
extern "C" __global__ void fbank(const float *samples, const int *starts, const float *taper, const float *cosines,
                                 const float *sines, const int *first_bins, const int *offsets, const float *weights,
                                 float *out, int frames, float scale) {
  __shared__ double sums[FBANK_BLOCK];
  __shared__ float re[FFT];
  __shared__ float im[FFT];
  const int frame = blockIdx.x;
  const int row = blockIdx.y;
  const float *x = samples + starts[row] + (long long)frame * FRAME_STEP;

  // The mean of the frame.
  double sum = 0.0;
  for (int i = threadIdx.x; i < FRAME; i += blockDim.x) {
    sum += (double)x[i];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) {
      sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
  }
  const float mean = (float)(sums[0] / (double)FRAME) * scale;

  // Pre-emphasis and taper, to where a transform that works in place wants its input: indices with their bits reversed.
  for (int i = threadIdx.x; i < FFT; i += blockDim.x) {
    float value = 0.0f;
    if (i < FRAME) {
      const float centred = x[i] * scale - mean;
      const float previous = i == 0 ? centred : x[i - 1] * scale - mean;
      value = (centred - PRE_EMPHASIS * previous) * taper[i];
    }
    int reversed = 0;
    for (int bit = 1, rest = i; bit < FFT; bit *= 2, rest /= 2) {
      reversed = reversed * 2 + (rest & 1);
    }
    re[reversed] = value;
    im[reversed] = 0.0f;
  }
  __syncthreads();

  // Cooley and Tukey's transform, radix 2, decimation in time.
  for (int half = 1; half < FFT; half *= 2) {
    for (int k = threadIdx.x; k < FFT / 2; k += blockDim.x) {
      const int within = k % half;
      const int upper = (k / half) * 2 * half + within;
      const int lower = upper + half;
      const int turn = within * (FFT / 2 / half);
      const float c = cosines[turn];
      const float s = sines[turn];
      const float lower_re = re[lower] * c + im[lower] * s;
      const float lower_im = im[lower] * c - re[lower] * s;
      re[lower] = re[upper] - lower_re;
      im[lower] = im[upper] - lower_im;
      re[upper] += lower_re;
      im[upper] += lower_im;
    }
    __syncthreads();
  }

  // The Nyquist bin has no weight in Kaldi.
  for (int k = threadIdx.x; k < FFT / 2; k += blockDim.x) {
    re[k] = re[k] * re[k] + im[k] * im[k];
  }
  __syncthreads();
  float *to = out + ((long long)row * frames + frame) * BINS;
  for (int bin = threadIdx.x; bin < BINS; bin += blockDim.x) {
    float energy = 0.0f;
    for (int i = offsets[bin]; i < offsets[bin + 1]; i++) {
      energy += re[first_bins[bin] + i - offsets[bin]] * weights[i];
    }
    to[bin] = logf(fmaxf(energy, ENERGY_FLOOR));
  }
}

// Subtracts from each mel bin its mean over all frames. in [rows, frames, BINS]; out the same, or [rows, BINS, frames] when
// transposed is not 0, and then not the same memory. Grid (BINS, rows).
extern "C" __global__ void centre(const float *in, float *out, int frames, int transposed) {
  __shared__ double sums[FBANK_BLOCK];
  const int bin = blockIdx.x;
  const int row = blockIdx.y;
  const float *from = in + (long long)row * frames * BINS + bin;
  double sum = 0.0;
  for (int frame = threadIdx.x; frame < frames; frame += blockDim.x) {
    sum += (double)from[(long long)frame * BINS];
  }
  sums[threadIdx.x] = sum;
  __syncthreads();
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    if ((int)threadIdx.x < half) {
      sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
  }
  const double mean = sums[0] / (double)frames;
  float *to = out + (long long)row * frames * BINS;
  for (int frame = threadIdx.x; frame < frames; frame += blockDim.x) {
    const float value = (float)((double)from[(long long)frame * BINS] - mean);
    to[transposed ? (long long)bin * frames + frame : (long long)frame * BINS + bin] = value;
  }
}
