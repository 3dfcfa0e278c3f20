// A dense layer of many inputs and at most sixteen outputs, as a net's last one is. Vectors hold sixteen inputs, since
// there are not enough outputs to fill them: the weights are turned round for that. Every worker takes its examples,
// so that it reads what it wrote itself in the layer below, and they in blocks of inputs, whose weights fit the cache.
#pragma once
#include <algorithm>
#include <memory>
#include <vector>

#include "vectors.h"
#include "workers.h"

constexpr int MOST = 16;
template <class T>
constexpr int BLOCK = 2048 / sizeof(T);

// weights [inputs, OUT] -> turned [OUT, inputs]
template <class T>
static void turn(int threads, int64_t inputs, int outputs, const T* weights, T* turned) {
  Workers::run(threads, [&](int share) {
    for (int64_t i = inputs * share / threads; i < inputs * (share + 1) / threads; i++)
      for (int o = 0; o < outputs; o++) turned[o * inputs + i] = weights[i * outputs + o];
  });
}

template <int ROWS, int OUT, class T>
INLINE void multiply_rows(int64_t inputs, int length, const T* in, const T* turned, float* totals) {
  Vector all[ROWS][OUT]{};
  int i = 0;
  for (constexpr int STEP = WIDTH * PAIR<T>; i + STEP <= length; i += STEP) {
    decltype(terms(in)) here[ROWS];
    for (int r = 0; r < ROWS; r++) {
      here[r] = terms(in + r * inputs + i);
      __builtin_prefetch(in + (ROWS + r) * inputs + i);  // a block's next row lies far from this one
    }
#pragma GCC unroll 16
    for (int o = 0; o < OUT; o++) {
      auto weights = terms(turned + o * inputs + i);
      for (int r = 0; r < ROWS; r++) all[r][o] = dot(all[r][o], here[r], weights);
    }
  }
  for (int r = 0; r < ROWS; r++) {
    Vector here = sums<OUT>(all[r]);
    for (int o = 0; o < OUT; o++) {
      for (int j = i; j < length; j++) here[o] += load1(in + r * inputs + j) * load1(turned + o * inputs + j);
      totals[r * OUT + o] += here[o];
    }
  }
}

// in [batch, inputs], turned [OUT, inputs], bias [OUT] -> out [batch, OUT]
template <int OUT, class T>
static void multiply(int threads, int64_t batch, int64_t inputs, const T* in, const T* turned, const T* bias, T* out) {
  constexpr int ROWS = OUT > 12 ? 1 : 2;  // so that the totals fit the registers
  Workers::run(threads, [&](int share) {
    int64_t from = batch * share / threads, rows = batch * (share + 1) / threads - from;
    std::vector<float> totals(rows * OUT);
    for (int64_t i = 0; i < inputs; i += BLOCK<T>) {
      int length = std::min<int64_t>(BLOCK<T>, inputs - i);
      int64_t r = 0;
      for (; r + ROWS <= rows; r += ROWS)
        multiply_rows<ROWS, OUT>(inputs, length, in + (from + r) * inputs + i, turned + i, totals.data() + r * OUT);
      for (; r < rows; r++)
        multiply_rows<1, OUT>(inputs, length, in + (from + r) * inputs + i, turned + i, totals.data() + r * OUT);
    }
    for (int64_t j = 0; j < rows * OUT; j++) store1(out + from * OUT + j, totals[j] + load1(bias + j % OUT));
  });
}

template <int ROWS, int OUT, class T>
INLINE void pass_rows_on(int64_t inputs, int length, const T* outer, const T* turned, T* passed) {
  constexpr int PAIRS = (OUT + PAIR<T> - 1) / PAIR<T>;
  decltype(terms(outer)) each[ROWS][PAIRS];
  for (int r = 0; r < ROWS; r++)
    for (int o = 0; o < PAIRS; o++) {
      const T* first = outer + r * OUT + o * PAIR<T>;
      each[r][o] = splat(pair(first[0], has_second<T>(o, OUT) ? first[1] : T{}));
    }
  int i = 0;
  for (; i + WIDTH <= length; i += WIDTH) {
    Vector all[ROWS]{};
#pragma GCC unroll 16
    for (int o = 0; o < PAIRS; o++) {
      const T* first = turned + o * PAIR<T> * inputs + i;
      auto weights = in_turn(raw(first), has_second<T>(o, OUT) ? raw(first + inputs) : decltype(raw(first)){});
      for (int r = 0; r < ROWS; r++) all[r] = dot(all[r], each[r][o], weights);
    }
    for (int r = 0; r < ROWS; r++) {
      store(passed + r * inputs + i, all[r]);
      __builtin_prefetch(passed + (ROWS + r) * inputs + i, 1);
    }
  }
  for (; i < length; i++)
    for (int r = 0; r < ROWS; r++) {
      float rest = 0;
      for (int o = 0; o < OUT; o++) rest += load1(outer + r * OUT + o) * load1(turned + o * inputs + i);
      store1(passed + r * inputs + i, rest);
    }
}

// outer [batch, OUT], turned [OUT, inputs] -> passed [batch, inputs], the gradient of the inputs
template <int OUT, class T>
static void pass_on(int threads, int64_t batch, int64_t inputs, const T* outer, const T* turned, T* passed) {
  constexpr int ROWS = (OUT > 12 ? 1 : 2) * PAIR<T>;
  Workers::run(threads, [&](int share) {
    int64_t from = batch * share / threads, to = batch * (share + 1) / threads;
    for (int64_t i = 0; i < inputs; i += BLOCK<T>) {
      int length = std::min<int64_t>(BLOCK<T>, inputs - i);
      int64_t r = from;
      for (; r + ROWS <= to; r += ROWS)
        pass_rows_on<ROWS, OUT>(inputs, length, outer + r * OUT, turned + i, passed + r * inputs + i);
      for (; r < to; r++) pass_rows_on<1, OUT>(inputs, length, outer + r * OUT, turned + i, passed + r * inputs + i);
    }
  });
}

template <int ROWS, int OUT, class T>
INLINE void learn_rows(int64_t inputs, int length, const T* in, const T* outer, float* sums) {
  constexpr int PAIRS = (ROWS + PAIR<T> - 1) / PAIR<T>;
  Pair<T> each[PAIRS][OUT];
  for (int r = 0; r < PAIRS; r++)
    for (int o = 0; o < OUT; o++) {
      const T* first = outer + r * PAIR<T> * OUT + o;
      each[r][o] = pair(first[0], has_second<T>(r, ROWS) ? first[OUT] : T{});
    }
  int i = 0;
  for (; i + WIDTH <= length; i += WIDTH) {
    decltype(terms(in)) here[PAIRS];
    for (int r = 0; r < PAIRS; r++) {
      const T* first = in + r * PAIR<T> * inputs + i;
      here[r] = in_turn(raw(first), has_second<T>(r, ROWS) ? raw(first + inputs) : decltype(raw(first)){});
    }
    for (int r = 0; r < ROWS; r++) __builtin_prefetch(in + (ROWS + r) * inputs + i);
#pragma GCC unroll 16
    for (int o = 0; o < OUT; o++) {
      Vector all = load(sums + o * inputs + i);
      for (int r = 0; r < PAIRS; r++) all = dot(all, here[r], splat(each[r][o]));
      store(sums + o * inputs + i, all);
    }
  }
  for (; i < length; i++)
    for (int o = 0; o < OUT; o++)
      for (int r = 0; r < ROWS; r++) sums[o * inputs + i] += load1(in + r * inputs + i) * load1(outer + r * OUT + o);
}

// The workers' sums of COUNT inputs, one after the other, turned round again.
template <int COUNT, int OUT, class T>
INLINE void add_up(int threads, int64_t inputs, const float* sums, T* weights) {
  float totals[OUT][COUNT]{};
  for (int worker = 0; worker < threads; worker++)
    for (int o = 0; o < OUT; o++)
      for (int j = 0; j < COUNT; j++) totals[o][j] += sums[(worker * OUT + o) * inputs + j];
  for (int j = 0; j < COUNT; j++)
    for (int o = 0; o < OUT; o++) store1(weights + j * OUT + o, totals[o][j]);
}

// in [batch, inputs], outer [batch, OUT] -> the gradients of weights [inputs, OUT] and bias [OUT]
template <int OUT, class T>
static void learn(int threads, int64_t batch, int64_t inputs, const T* in, const T* outer, T* weights, T* bias) {
  constexpr int ROWS = 4 * PAIR<T>;
  std::unique_ptr<float[]> sums(new float[threads * inputs * OUT]);  // each worker's, which it clears itself
  Workers::run(threads, [&](int share) {
    float* mine = sums.get() + share * inputs * OUT;
    std::fill_n(mine, inputs * OUT, 0.f);
    int64_t from = batch * share / threads, to = batch * (share + 1) / threads;
    for (int64_t i = 0; i < inputs; i += BLOCK<T>) {
      int length = std::min<int64_t>(BLOCK<T>, inputs - i);
      int64_t r = from;
      for (; r + ROWS <= to; r += ROWS) learn_rows<ROWS, OUT>(inputs, length, in + r * inputs + i, outer + r * OUT, mine + i);
      for (; r < to; r++) learn_rows<1, OUT>(inputs, length, in + r * inputs + i, outer + r * OUT, mine + i);
    }
  });
  Workers::run(threads, [&](int share) {
    int64_t i = inputs * share / threads, to = inputs * (share + 1) / threads;
    for (; i + WIDTH <= to; i += WIDTH) add_up<WIDTH, OUT>(threads, inputs, sums.get() + i, weights + i * OUT);
    for (; i < to; i++) add_up<1, OUT>(threads, inputs, sums.get() + i, weights + i * OUT);
  });
  for (int o = 0; o < OUT; o++) {
    float total = 0;
    for (int64_t r = 0; r < batch; r++) total += load1(outer + r * OUT + o);
    store1(bias + o, total);
  }
}

// Calls job with the outputs' number, 1 to MOST, as a constant.
template <int OUT = MOST, class Job>
static void with_outputs(int outputs, const Job& job) {
  if (outputs == OUT) return job.template operator()<OUT>();
  if constexpr (OUT > 1) with_outputs<OUT - 1>(outputs, job);
}
