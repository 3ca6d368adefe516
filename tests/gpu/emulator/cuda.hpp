// CUDA C as C++: a kernel's source compiles after this file, and runs on the CPU with real threads.
//
// Each thread of a block is a thread of the system and `__syncthreads` a barrier, so that a barrier that is missing is a data
// race, which ThreadSanitizer reports. Blocks run one after the other.
#pragma once

#include <barrier>
#include <cmath>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

inline Dim gridDim, blockDim;
inline thread_local Dim threadIdx, blockIdx;
inline std::unique_ptr<std::barrier<>> emulated_barrier;

#define __global__
#define __shared__ static
inline void __syncthreads() { emulated_barrier->arrive_and_wait(); }

// Runs a kernel over a grid.
inline void emulate(Dim grid, unsigned threads, const std::function<void()> &kernel) {
  gridDim = grid;
  blockDim = Dim{threads, 1, 1};
  emulated_barrier = std::make_unique<std::barrier<>>(threads);
  std::vector<std::thread> all;
  for (unsigned t = 0; t < threads; t++) {
    all.emplace_back([=] {
      threadIdx = Dim{t, 0, 0};
      for (unsigned y = 0; y < grid.y; y++) {
        for (unsigned x = 0; x < grid.x; x++) {
          blockIdx = Dim{x, y, 0};
          kernel();
          // What a block shares belongs to the next one only when all are through with it.
          emulated_barrier->arrive_and_wait();
        }
      }
    });
  }
  for (auto &thread : all) thread.join();
}
