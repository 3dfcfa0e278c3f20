// The update of Adam in one pass over a variable and its two moments.
#pragma once
#include <algorithm>

#include "vectors.h"
#include "workers.h"

// The gradient, the variable, and its moments, with `size` values each.
struct AdamArrays {
  int64_t size;
  const float *gradient, *variable, *momentum, *velocity;
  float *new_variable, *new_momentum, *new_velocity;
};

struct AdamConstants {
  float first, second, epsilon;  // 1 - beta_1, 1 - beta_2, epsilon
  float rate;                    // the learning rate, corrected for the bias of both moments
};

constexpr int64_t MIN_ADAM_PART = 262144;  // elements per thread; with fewer, waking a thread takes longer

// Updates the 16 values from index `i` on, or those of them that `mask` selects.
INLINE void update_lanes(const AdamArrays& a, const AdamConstants& constants, int64_t i, __mmask16 mask) {
  auto load = [&](const float* source) { return (Vector)_mm512_maskz_loadu_ps(mask, source + i); };
  auto store = [&](float* target, Vector values) { _mm512_mask_storeu_ps(target + i, mask, (__m512)values); };
  Vector gradient = load(a.gradient), momentum = load(a.momentum), velocity = load(a.velocity);
  momentum += (gradient - momentum) * constants.first;
  velocity += (gradient * gradient - velocity) * constants.second;
  store(a.new_momentum, momentum);
  store(a.new_velocity, velocity);
  Vector root = (Vector)_mm512_sqrt_ps((__m512)velocity);
  store(a.new_variable, load(a.variable) - momentum * constants.rate / (root + constants.epsilon));
}

// Computes Keras' update: momentum += (gradient - momentum) (1 - beta_1), velocity += (gradient^2 - velocity)
// (1 - beta_2), variable -= momentum rate / (sqrt(velocity) + epsilon).
INLINE void update_adam(const AdamArrays& arrays, const AdamConstants& constants, int threads) {
  int parts = (int)std::clamp<int64_t>(arrays.size / MIN_ADAM_PART, 1, threads);
  int64_t length = (arrays.size / parts / LANES + 1) * LANES;
  auto update = [&](int part) {
    int64_t i = part * length, end = std::min(arrays.size, i + length);
    for (; i + LANES <= end; i += LANES) update_lanes(arrays, constants, i, 0xffff);
    if (i < end) update_lanes(arrays, constants, i, (1 << (end - i)) - 1);
  };
  if (parts == 1) return update(0);  // without waiting for operations that use the workers
  Workers::run(parts, update);
}
