// Masked statistics pooling, and the layer behind it: what WeSpeaker's heads do with a trunk's output.
//
// In one pass over the trunk's output for all local speakers of a chunk, where the same as separate operators would write
// it out once for each speaker.

// Channels of a tile; steps of a tile, and one more so that threads of one step meet different banks.
#define TILE_CHANNELS 32
#define TILE_STEPS 128
#define SPEAKERS_MAX 8
// Added to both denominators, as the networks do.
#define POOLING_EPSILON 1e-8f

// features [rows, channels, steps]; weights [rows, speakers, frames]; frame_of [steps], the frame whose weight a step takes;
// out [rows, speakers, 2 channels], means before deviations. Grid (channels / TILE_CHANNELS rounded up, rows); a block has
// TILE_CHANNELS * speakers threads, or one.
extern "C" __global__ void pool(const float *features, const float *weights, const int *frame_of, float *out,
                                int channels, int steps, int speakers, int frames) {
  __shared__ float tile[TILE_CHANNELS][TILE_STEPS + 1];
  __shared__ float weight[SPEAKERS_MAX][TILE_STEPS];
  __shared__ float sums[SPEAKERS_MAX][TILE_CHANNELS];
  __shared__ float masses[SPEAKERS_MAX][TILE_CHANNELS];
  __shared__ float squares[SPEAKERS_MAX][TILE_CHANNELS];
  const int first = blockIdx.x * TILE_CHANNELS;
  const int row = blockIdx.y;
  const int work = TILE_CHANNELS * speakers;
  const float *of_row = features + (long long)row * channels * steps;
  const float *weights_of_row = weights + (long long)row * speakers * frames;

  for (int i = threadIdx.x; i < work; i += blockDim.x) {
    sums[i / TILE_CHANNELS][i % TILE_CHANNELS] = 0.0f;
    masses[i / TILE_CHANNELS][i % TILE_CHANNELS] = 0.0f;
    squares[i / TILE_CHANNELS][i % TILE_CHANNELS] = 0.0f;
  }
  // First the means, then the scatter around them.
  for (int pass = 0; pass < 2; pass++) {
    for (int begin = 0; begin < steps; begin += TILE_STEPS) {
      const int count = steps - begin < TILE_STEPS ? steps - begin : TILE_STEPS;
      __syncthreads();
      for (int i = threadIdx.x; i < TILE_CHANNELS * TILE_STEPS; i += blockDim.x) {
        const int channel = i / TILE_STEPS;
        const int step = i % TILE_STEPS;
        if (step < count && first + channel < channels) {
          tile[channel][step] = of_row[(long long)(first + channel) * steps + begin + step];
        }
      }
      for (int i = threadIdx.x; i < speakers * TILE_STEPS; i += blockDim.x) {
        const int step = i % TILE_STEPS;
        if (step < count) {
          const int speaker = i / TILE_STEPS;
          weight[speaker][step] = weights_of_row[(long long)speaker * frames + frame_of[begin + step]];
        }
      }
      __syncthreads();
      for (int i = threadIdx.x; i < work; i += blockDim.x) {
        const int speaker = i / TILE_CHANNELS;
        const int channel = i % TILE_CHANNELS;
        if (first + channel >= channels) {
          continue;
        }
        float sum = sums[speaker][channel];
        float mass = masses[speaker][channel];
        float square = squares[speaker][channel];
        for (int step = 0; step < count; step++) {
          const float w = weight[speaker][step];
          if (pass == 0) {
            sum += tile[channel][step] * w;
            mass += w;
            square += w * w;
          } else {
            // By now `sum` is the scatter and `mass` the mean.
            const float distance = tile[channel][step] - mass;
            sum += distance * distance * w;
          }
        }
        sums[speaker][channel] = sum;
        masses[speaker][channel] = mass;
        squares[speaker][channel] = square;
      }
    }
    for (int i = threadIdx.x; i < work; i += blockDim.x) {
      const int speaker = i / TILE_CHANNELS;
      const int channel = i % TILE_CHANNELS;
      if (first + channel >= channels) {
        continue;
      }
      float *to = out + ((long long)row * speakers + speaker) * 2 * channels;
      if (pass == 0) {
        const float mass = masses[speaker][channel] + POOLING_EPSILON;
        const float mean = sums[speaker][channel] / mass;
        // The degrees of freedom wait where the squares were.
        squares[speaker][channel] = mass - squares[speaker][channel] / mass + POOLING_EPSILON;
        masses[speaker][channel] = mean;
        sums[speaker][channel] = 0.0f;
        to[first + channel] = mean;
      } else {
        to[channels + first + channel] = sqrtf(sums[speaker][channel] / squares[speaker][channel]);
      }
    }
  }
}

// out [rows, dimension] = pooled [rows, width] times dense [width, dimension], plus bias [dimension].
// Grid (dimension / blockDim.x rounded up, rows).
extern "C" __global__ void project(const float *pooled, const float *dense, const float *bias, float *out, int width,
                                   int dimension) {
  const int row = blockIdx.y;
  const float *from = pooled + (long long)row * width;
  for (int column = blockIdx.x * blockDim.x + threadIdx.x; column < dimension; column += gridDim.x * blockDim.x) {
    float sum = 0.0f;
    for (int k = 0; k < width; k++) {
      sum += from[k] * dense[(long long)k * dimension + column];
    }
    out[(long long)row * dimension + column] = sum + bias[column];
  }
}
