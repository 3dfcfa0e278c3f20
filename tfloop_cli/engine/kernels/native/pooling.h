// Max pooling with windows of 2x2 pixels and stride 2. The backward pass reads one byte per output value, where that of
// TensorFlow reads the inputs and the outputs again, which then stay in memory until it is done.
#pragma once
#include <algorithm>
#include <cstdint>

#include "vectors.h"
#include "workers.h"

// The position of a maximum in its window is 0 to 3, row by row. Added to it, where the maximum is not above 0:
constexpr char NOT_POSITIVE = 4;

struct PoolingShape {
  int64_t batch;
  int height, width, channels;      // of the inputs
  int output_height, output_width;  // with "same" padding they include windows of one row or column

  int64_t row_size() const { return int64_t(width) * channels; }
  int64_t output_row_size() const { return int64_t(output_width) * channels; }
};

// Calls job(n) for each row n of the outputs of the batch, in parallel.
template <class Job>
static void for_each_output_row(const PoolingShape& s, int threads, const Job& job) {
  int64_t rows = s.batch * s.output_height;
  Workers::run(threads, [&](int part) {
    for (int64_t n = rows * part / threads; n < rows * (part + 1) / threads; n++) job(n);
  });
}

// The two rows of pixels of a row of windows. If there is only one, both are the same. The same holds for columns.
template <class T>
struct WindowRows {
  T *top, *bottom;

  WindowRows(const PoolingShape& s, T* inputs, int64_t n) {
    int64_t y = n % s.output_height * 2;
    top = inputs + (n / s.output_height * s.height + y) * s.row_size();
    bottom = y + 1 < s.height ? top + s.row_size() : top;
  }
};

// NaN is larger than all numbers.
INLINE Lanes is_larger(Vector value, Vector than) {
  return _mm512_cmp_ps_mask((__m512)value, (__m512)than, _CMP_GT_OQ) |
         _mm512_cmp_ps_mask((__m512)value, (__m512)value, _CMP_UNORD_Q);
}

INLINE Vector select(Lanes lanes, Vector yes, Vector no) {
  return (Vector)_mm512_mask_blend_ps(lanes, (__m512)no, (__m512)yes);
}

// The first maximum of each of 16 windows, and its position.
template <class T>
INLINE void max_of_windows(const T* top, const T* bottom, int right, Lanes lanes, T* outputs, uint8_t* positions) {
  Vector values[] = {load(top, lanes), load(top + right, lanes), load(bottom, lanes), load(bottom + right, lanes)};
  Lanes is_right[] = {is_larger(values[1], values[0]), is_larger(values[3], values[2])};
  Vector tops = select(is_right[0], values[1], values[0]), bottoms = select(is_right[1], values[3], values[2]);
  Lanes is_bottom = is_larger(bottoms, tops);
  Vector maxima = select(is_bottom, bottoms, tops);
  Lanes is_positive = _mm512_cmp_ps_mask((__m512)maxima, (__m512)Vector{}, _CMP_GT_OQ);
  Lanes columns = (is_bottom & is_right[1]) | (~is_bottom & is_right[0]);
  __m128i position = _mm_or_si128(_mm_maskz_set1_epi8(columns, 1), _mm_maskz_set1_epi8(is_bottom, 2));
  store(outputs, lanes, maxima);
  _mm_mask_storeu_epi8(positions, lanes, _mm_or_si128(position, _mm_maskz_set1_epi8(~is_positive, NOT_POSITIVE)));
}

// Calls job(first input, first output, distance to the input on the right, lanes) for the vectors of a row of windows.
template <class Job>
INLINE void for_each_vector(const PoolingShape& s, const Job& job) {
  int channels = s.channels, width = s.width, outputs = s.output_width;
  for (int x = 0; x < outputs; x++)
    for (int c = 0; c < channels; c += LANES)
      job(2 * x * channels + c, x * channels + c, 2 * x + 1 < width ? channels : 0, first_lanes(channels - c));
}

// inputs [batch, height, width, channels] -> outputs and positions [batch, output_height, output_width, channels]
template <class T>
static void max_pool(const PoolingShape& s, int threads, const T* inputs, T* outputs, uint8_t* positions) {
  for_each_output_row(s, threads, [&](int64_t n) {
    WindowRows<const T> rows(s, inputs, n);
    T* output_row = outputs + n * s.output_row_size();
    uint8_t* position_row = positions + n * s.output_row_size();
    for_each_vector(s, [=](int input, int output, int right, Lanes lanes) {
      max_of_windows(rows.top + input, rows.bottom + input, right, lanes, output_row + output, position_row + output);
    });
  });
}

// Writes the gradient of the inputs of 16 windows. Where several positions are the same input, the first one counts.
template <class T>
INLINE void gradient_of_windows(Vector upstream, __m128i positions, T* top, T* bottom, int right, Lanes lanes) {
  T* targets[] = {top, top + right, bottom, bottom + right};
  for (char i = 3; i >= 0; i--) {
    Lanes is_maximum = _mm_cmpeq_epi8_mask(positions, _mm_set1_epi8(i));
    store(targets[i], lanes, select(is_maximum, upstream, Vector{}));
  }
}

// upstream and positions [batch, output_height, output_width, channels] -> inputs_gradient
// [batch, height, width, channels]. After relu, inputs that are not positive get none.
template <class T>
static void max_pool_gradient(const PoolingShape& s, int threads, const T* upstream, const uint8_t* positions,
                              bool after_relu, T* inputs_gradient) {
  __m128i bits = _mm_set1_epi8(after_relu ? -1 : NOT_POSITIVE - 1);
  int64_t covered = std::min(s.width, 2 * s.output_width) * int64_t(s.channels);
  for_each_output_row(s, threads, [&](int64_t n) {
    WindowRows<T> rows(s, inputs_gradient, n);
    const T* upstream_row = upstream + n * s.output_row_size();
    const uint8_t* position_row = positions + n * s.output_row_size();
    for_each_vector(s, [=](int input, int output, int right, Lanes lanes) {
      __m128i position = _mm_and_si128(_mm_maskz_loadu_epi8(lanes, position_row + output), bits);
      gradient_of_windows(load(upstream_row + output, lanes), position, rows.top + input, rows.bottom + input, right,
                          lanes);
    });
    // With "valid" padding, the last row and column of odd sides are in no window.
    std::fill(rows.top + covered, rows.top + s.row_size(), T{});
    std::fill(rows.bottom + covered, rows.bottom + s.row_size(), T{});
    if ((n + 1) % s.output_height == 0 && 2 * s.output_height < s.height)
      std::fill_n(rows.bottom + s.row_size(), s.row_size(), T{});
  });
}
