// A dense layer with many inputs and at most 16 units, such as the last layer of a network. The units would not fill a
// vector, so each vector holds inputs of one unit, and the weights are transposed for this. Each worker computes a
// contiguous part of the batch, so that it reads values that it wrote itself in the layer below. It processes the
// inputs in blocks whose weights fit into the cache.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "vectors.h"
#include "workers.h"

constexpr int MAX_UNITS = 16;
template <class T>
constexpr int BLOCK_SIZE = 2048 / sizeof(T);  // in inputs

// weights [inputs, units] -> transposed [units, inputs]
template <class T>
static void transpose(int threads, int64_t input_size, int units, const T* weights, T* transposed) {
  Workers::run(threads, [&](int part) {
    for (int64_t i = input_size * part / threads; i < input_size * (part + 1) / threads; i++)
      for (int u = 0; u < units; u++) transposed[u * input_size + i] = weights[i * units + u];
  });
}

// Adds the products of `length` inputs of ROWS examples with their weights to `totals` [ROWS, UNITS].
template <int ROWS, int UNITS, class T>
INLINE void accumulate_outputs(int64_t input_size, int length, const T* inputs, const T* transposed, float* totals) {
  Vector sums[ROWS][UNITS]{};
  int i = 0;
  for (constexpr int STEP = LANES * PACK_SIZE<T>; i + STEP <= length; i += STEP) {
    PackedVector<T> row_inputs[ROWS];
    for (int r = 0; r < ROWS; r++) {
      row_inputs[r] = load_packed(inputs + r * input_size + i);
      __builtin_prefetch(inputs + (ROWS + r) * input_size + i);  // the next row of a block is far away in memory
    }
#pragma GCC unroll 16
    for (int u = 0; u < UNITS; u++) {
      auto weights = load_packed(transposed + u * input_size + i);
      for (int r = 0; r < ROWS; r++) sums[r][u] = dot(sums[r][u], row_inputs[r], weights);
    }
  }
  for (int r = 0; r < ROWS; r++) {
    Vector row_sums = horizontal_sums<UNITS>(sums[r]);
    for (int u = 0; u < UNITS; u++) {
      for (int j = i; j < length; j++)
        row_sums[u] += load_scalar(inputs + r * input_size + j) * load_scalar(transposed + u * input_size + j);
      totals[r * UNITS + u] += row_sums[u];
    }
  }
}

// inputs [batch, inputs], transposed [UNITS, inputs], bias [UNITS] -> outputs [batch, UNITS]
template <int UNITS, class T>
static void compute_outputs(int threads, int64_t batch, int64_t input_size, const T* inputs, const T* transposed,
                            const T* bias, T* outputs) {
  constexpr int ROWS = UNITS > 12 ? 1 : 2;  // the sums must fit into the registers
  Workers::run(threads, [&](int part) {
    int64_t start = batch * part / threads, rows = batch * (part + 1) / threads - start;
    std::vector<float> totals(rows * UNITS);
    for (int64_t i = 0; i < input_size; i += BLOCK_SIZE<T>) {
      int length = std::min<int64_t>(BLOCK_SIZE<T>, input_size - i);
      int64_t r = 0;
      for (; r + ROWS <= rows; r += ROWS)
        accumulate_outputs<ROWS, UNITS>(input_size, length, inputs + (start + r) * input_size + i, transposed + i,
                                        totals.data() + r * UNITS);
      for (; r < rows; r++)
        accumulate_outputs<1, UNITS>(input_size, length, inputs + (start + r) * input_size + i, transposed + i,
                                     totals.data() + r * UNITS);
    }
    for (int64_t j = 0; j < rows * UNITS; j++)
      store_scalar(outputs + start * UNITS + j, totals[j] + load_scalar(bias + j % UNITS));
  });
}

// Computes the gradient of `length` inputs of ROWS examples.
template <int ROWS, int UNITS, class T>
INLINE void compute_block_inputs_gradient(int64_t input_size, int length, const T* upstream, const T* transposed,
                                          T* inputs_gradient) {
  constexpr int PACKS = (UNITS + PACK_SIZE<T> - 1) / PACK_SIZE<T>;
  PackedVector<T> row_upstream[ROWS][PACKS];
  for (int r = 0; r < ROWS; r++)
    for (int p = 0; p < PACKS; p++) {
      const T* first = upstream + r * UNITS + p * PACK_SIZE<T>;
      row_upstream[r][p] = broadcast(pack(first[0], has_second<T>(p, UNITS) ? first[1] : T{}));
    }
  int i = 0;
  for (; i + LANES <= length; i += LANES) {
    Vector sums[ROWS]{};
#pragma GCC unroll 16
    for (int p = 0; p < PACKS; p++) {
      const T* first = transposed + p * PACK_SIZE<T> * input_size + i;
      auto weights =
          interleave(load_raw(first), has_second<T>(p, UNITS) ? load_raw(first + input_size) : RawVector<T>{});
      for (int r = 0; r < ROWS; r++) sums[r] = dot(sums[r], row_upstream[r][p], weights);
    }
    for (int r = 0; r < ROWS; r++) {
      store(inputs_gradient + r * input_size + i, sums[r]);
      __builtin_prefetch(inputs_gradient + (ROWS + r) * input_size + i, 1);
    }
  }
  for (; i < length; i++)
    for (int r = 0; r < ROWS; r++) {
      float sum = 0;
      for (int u = 0; u < UNITS; u++)
        sum += load_scalar(upstream + r * UNITS + u) * load_scalar(transposed + u * input_size + i);
      store_scalar(inputs_gradient + r * input_size + i, sum);
    }
}

// upstream [batch, UNITS], transposed [UNITS, inputs] -> inputs_gradient [batch, inputs]
template <int UNITS, class T>
static void compute_inputs_gradient(int threads, int64_t batch, int64_t input_size, const T* upstream,
                                    const T* transposed, T* inputs_gradient) {
  constexpr int ROWS = (UNITS > 12 ? 1 : 2) * PACK_SIZE<T>;
  Workers::run(threads, [&](int part) {
    int64_t start = batch * part / threads, end = batch * (part + 1) / threads;
    for (int64_t i = 0; i < input_size; i += BLOCK_SIZE<T>) {
      int length = std::min<int64_t>(BLOCK_SIZE<T>, input_size - i);
      int64_t r = start;
      for (; r + ROWS <= end; r += ROWS)
        compute_block_inputs_gradient<ROWS, UNITS>(input_size, length, upstream + r * UNITS, transposed + i,
                                                   inputs_gradient + r * input_size + i);
      for (; r < end; r++)
        compute_block_inputs_gradient<1, UNITS>(input_size, length, upstream + r * UNITS, transposed + i,
                                                inputs_gradient + r * input_size + i);
    }
  });
}

// Adds the weights' gradient of `length` inputs of ROWS examples to `sums` [UNITS, inputs].
template <int ROWS, int UNITS, class T>
INLINE void accumulate_weights_gradient(int64_t input_size, int length, const T* inputs, const T* upstream,
                                        float* sums) {
  constexpr int PACKS = (ROWS + PACK_SIZE<T> - 1) / PACK_SIZE<T>;
  Packed<T> packed_upstream[PACKS][UNITS];
  for (int p = 0; p < PACKS; p++)
    for (int u = 0; u < UNITS; u++) {
      const T* first = upstream + p * PACK_SIZE<T> * UNITS + u;
      packed_upstream[p][u] = pack(first[0], has_second<T>(p, ROWS) ? first[UNITS] : T{});
    }
  int i = 0;
  for (; i + LANES <= length; i += LANES) {
    PackedVector<T> packed_inputs[PACKS];
    for (int p = 0; p < PACKS; p++) {
      const T* first = inputs + p * PACK_SIZE<T> * input_size + i;
      packed_inputs[p] =
          interleave(load_raw(first), has_second<T>(p, ROWS) ? load_raw(first + input_size) : RawVector<T>{});
    }
    for (int r = 0; r < ROWS; r++) __builtin_prefetch(inputs + (ROWS + r) * input_size + i);
#pragma GCC unroll 16
    for (int u = 0; u < UNITS; u++) {
      Vector sum = load(sums + u * input_size + i);
      for (int p = 0; p < PACKS; p++) sum = dot(sum, packed_inputs[p], broadcast(packed_upstream[p][u]));
      store(sums + u * input_size + i, sum);
    }
  }
  for (; i < length; i++)
    for (int u = 0; u < UNITS; u++)
      for (int r = 0; r < ROWS; r++)
        sums[u * input_size + i] += load_scalar(inputs + r * input_size + i) * load_scalar(upstream + r * UNITS + u);
}

// Adds up the sums of all parts for COUNT inputs: sums [parts, UNITS, inputs] -> weights_gradient [COUNT, UNITS].
template <int COUNT, int UNITS, class T>
INLINE void reduce_parts(int parts, int64_t input_size, const float* sums, T* weights_gradient) {
  float totals[UNITS][COUNT]{};
  for (int part = 0; part < parts; part++)
    for (int u = 0; u < UNITS; u++)
      for (int j = 0; j < COUNT; j++) totals[u][j] += sums[(part * UNITS + u) * input_size + j];
  for (int j = 0; j < COUNT; j++)
    for (int u = 0; u < UNITS; u++) store_scalar(weights_gradient + j * UNITS + u, totals[u][j]);
}

// inputs [batch, inputs], upstream [batch, UNITS] -> weights_gradient [inputs, UNITS], bias_gradient [UNITS]
template <int UNITS, class T>
static void compute_weights_gradient(int threads, int64_t batch, int64_t input_size, const T* inputs, const T* upstream,
                                     T* weights_gradient, T* bias_gradient) {
  constexpr int ROWS = 4 * PACK_SIZE<T>;
  std::unique_ptr<float[]> sums(new float[threads * input_size * UNITS]);  // each worker clears its part
  Workers::run(threads, [&](int part) {
    float* part_sums = sums.get() + part * input_size * UNITS;
    std::fill_n(part_sums, input_size * UNITS, 0.f);
    int64_t start = batch * part / threads, end = batch * (part + 1) / threads;
    for (int64_t i = 0; i < input_size; i += BLOCK_SIZE<T>) {
      int length = std::min<int64_t>(BLOCK_SIZE<T>, input_size - i);
      int64_t r = start;
      for (; r + ROWS <= end; r += ROWS)
        accumulate_weights_gradient<ROWS, UNITS>(input_size, length, inputs + r * input_size + i, upstream + r * UNITS,
                                                 part_sums + i);
      for (; r < end; r++)
        accumulate_weights_gradient<1, UNITS>(input_size, length, inputs + r * input_size + i, upstream + r * UNITS,
                                              part_sums + i);
    }
  });
  Workers::run(threads, [&](int part) {
    int64_t i = input_size * part / threads, end = input_size * (part + 1) / threads;
    for (; i + LANES <= end; i += LANES)
      reduce_parts<LANES, UNITS>(threads, input_size, sums.get() + i, weights_gradient + i * UNITS);
    for (; i < end; i++) reduce_parts<1, UNITS>(threads, input_size, sums.get() + i, weights_gradient + i * UNITS);
  });
  for (int u = 0; u < UNITS; u++) {
    float sum = 0;
    for (int64_t r = 0; r < batch; r++) sum += load_scalar(upstream + r * UNITS + u);
    store_scalar(bias_gradient + u, sum);
  }
}

// Calls `job` with the number of units, 1 to MAX_UNITS, as its template argument.
template <int UNITS = MAX_UNITS, class Job>
static void dispatch_units(int units, const Job& job) {
  if (units == UNITS) return job.template operator()<UNITS>();
  if constexpr (UNITS > 1) dispatch_units<UNITS - 1>(units, job);
}
