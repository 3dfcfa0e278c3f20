// A convolution of images with few channels, such as the first layer of a network. It has few multiplications per
// output value (9 for a 3x3 kernel and one channel), so each vector holds 16 filters. Bias and relu are computed in the
// same pass, so that each output is written once.
#pragma once
#include <algorithm>
#include <vector>

#include "vectors.h"
#include "workers.h"

// A tap is one weight position of a filter: a kernel row, a kernel column and a channel. Sizes are numbers of values.
struct ConvolutionShape {
  int batch, height, width, channels;  // of the images
  int output_height, output_width, filters;
  int kernel_height, kernel_width;
  int pad_top, pad_left;

  int taps() const { return kernel_height * kernel_width * channels; }
  int padded_row_size() const { return (output_width + kernel_width - 1) * channels; }
  int padded_image_size() const { return (output_height + kernel_height - 1) * padded_row_size(); }
  size_t image_size() const { return size_t(height) * width * channels; }
  size_t output_row_size() const { return size_t(output_width) * filters; }
};

// Returns the offsets of the taps from the first tap, in the padded image. Only every `column_step`-th kernel column is
// included.
static std::vector<int> tap_offsets(const ConvolutionShape& s, int column_step) {
  std::vector<int> offsets;
  for (int i = 0; i < s.kernel_height; i++)
    for (int j = 0; j < s.kernel_width; j += column_step)
      for (int c = 0; c < s.channels; c++) offsets.push_back(i * s.padded_row_size() + j * s.channels + c);
  return offsets;
}

// Copies an image into `padded`, whose border is zero, and packs each value with the value one column to the right.
template <class T>
static void pad_and_pack(const ConvolutionShape& s, const T* image, std::vector<T>& padded,
                         std::vector<Packed<T>>& packed) {
  for (int y = 0, row_size = s.width * s.channels; y < s.height; y++)
    std::copy_n(image + y * row_size, row_size,
                padded.begin() + (y + s.pad_top) * s.padded_row_size() + s.pad_left * s.channels);
  for (int i = 0; i < s.padded_image_size(); i++)
    packed[i] = pack(padded[i], i + s.channels < s.padded_image_size() ? padded[i + s.channels] : T{});
}

// Computes VECTORS * 16 filters at POSITIONS adjacent positions. All sums are in registers.
template <int POSITIONS, int VECTORS, class T>
INLINE void convolve_positions(const ConvolutionShape& s, const Packed<T>* images, const std::vector<int>& offsets,
                               const Packed<T>* filters, const float* bias, bool relu, T* outputs) {
  Vector sums[POSITIONS][VECTORS];
  for (auto& position_sums : sums)
    for (int v = 0; v < VECTORS; v++) position_sums[v] = load(bias + v * LANES);
  for (size_t t = 0; t < offsets.size(); t++)
    for (int v = 0; v < VECTORS; v++) {
      auto weights = load_packed(filters + t * s.filters + v * LANES);
      for (int p = 0; p < POSITIONS; p++)
        sums[p][v] = dot(sums[p][v], broadcast(images[offsets[t] + p * s.channels]), weights);
    }
  for (int p = 0; p < POSITIONS; p++)
    for (int v = 0; v < VECTORS; v++) {
      Vector sum = sums[p][v];
      if (relu) sum = sum < 0 ? Vector{} : sum;  // NaN stays NaN
      store(outputs + p * s.filters + v * LANES, sum);
    }
}

template <int VECTORS, class T>
static void convolve_row(const ConvolutionShape& s, const Packed<T>* images, const std::vector<int>& offsets,
                         const Packed<T>* filters, const float* bias, bool relu, T* outputs) {
  int x = 0;
  auto convolve_in_steps = [&]<int POSITIONS>() {
    for (; x + POSITIONS <= s.output_width; x += POSITIONS)
      convolve_positions<POSITIONS, VECTORS>(s, images + x * s.channels, offsets, filters, bias, relu,
                                             outputs + x * s.filters);
  };
  convolve_in_steps.template operator()<8>();
  convolve_in_steps.template operator()<2>();
  convolve_in_steps.template operator()<1>();
}

// Packs the weights of adjacent kernel columns. The result has the order of `tap_offsets(s, PACK_SIZE<T>)`.
template <class T>
static std::vector<Packed<T>> pack_filters(const ConvolutionShape& s, const T* filters) {
  std::vector<Packed<T>> packed;
  int column_size = s.channels * s.filters;
  for (int i = 0; i < s.kernel_height; i++)
    for (int j = 0; j < s.kernel_width; j += PACK_SIZE<T>)
      for (int k = 0; k < column_size; k++) {
        const T* first = filters + (i * s.kernel_width + j) * column_size + k;
        packed.push_back(pack(first[0], j + 1 < s.kernel_width ? first[column_size] : T{}));
      }
  return packed;
}

// images [batch, height, width, channels], filters [kernel_height, kernel_width, channels, filters], bias [filters]
// -> outputs [batch, output_height, output_width, filters]
template <class T>
static void convolve(const ConvolutionShape& s, int threads, const T* images, const T* filters, const T* bias,
                     bool relu, T* outputs) {
  std::vector<int> offsets = tap_offsets(s, PACK_SIZE<T>);
  std::vector<Packed<T>> packed_filters = pack_filters(s, filters);
  std::vector<float> float_bias(s.filters);
  for (int i = 0; i < s.filters; i++) float_bias[i] = load_scalar(bias + i);
  Workers::run(threads, [&](int part) {
    std::vector<T> padded(s.padded_image_size());
    std::vector<Packed<T>> packed(s.padded_image_size());
    for (int64_t n = int64_t(s.batch) * part / threads; n < int64_t(s.batch) * (part + 1) / threads; n++) {
      pad_and_pack(s, images + n * s.image_size(), padded, packed);
      for (int y = 0; y < s.output_height; y++) {
        const Packed<T>* row = packed.data() + y * s.padded_row_size();
        T* output_row = outputs + (n * s.output_height + y) * s.output_row_size();
        int f = 0;
        for (; f + 2 * LANES <= s.filters; f += 2 * LANES)
          convolve_row<2>(s, row, offsets, packed_filters.data() + f, float_bias.data() + f, relu, output_row + f);
        if (f < s.filters)
          convolve_row<1>(s, row, offsets, packed_filters.data() + f, float_bias.data() + f, relu, output_row + f);
      }
    }
  });
}

// One row of the outputs and of the upstream gradient. `masked` is the upstream gradient, with 0 where relu's output
// is 0.
template <class T>
struct GradientRow {
  const T *outputs, *upstream;
  T* masked;
  bool relu;
};

// Adds the gradient of one row to `filters_gradient`, for TAPS taps and VECTORS * 16 filters. The row is summed in
// registers first, which has smaller rounding errors than adding thousands of values to one sum. The call for the FIRST
// taps of a row also computes `masked`, and adds to the bias' gradient.
template <int TAPS, int VECTORS, bool FIRST, class T>
INLINE void accumulate_taps(const ConvolutionShape& s, const Packed<T>* images, const int* offsets,
                            const GradientRow<T>& row, float* filters_gradient, float* bias_gradient) {
  Vector filter_sums[TAPS][VECTORS]{}, bias_sums[VECTORS]{};
  T one;
  store_scalar(&one, 1);
  auto load_masked = [&](int x, int v) {
    int index = x * s.filters + v * LANES;
    if (!FIRST) return load_raw(row.masked + index);
    auto gradient = load_raw(row.upstream + index);
    if (row.relu) gradient = relu_mask(load_raw(row.outputs + index), gradient);
    if (s.taps() > TAPS) store_raw(row.masked + index, gradient);
    return gradient;
  };
  for (int x = 0; x < s.output_width; x += PACK_SIZE<T>) {
    PackedVector<T> upstream[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
      auto first = load_masked(x, v);
      bool has_next = PACK_SIZE<T> == 2 && x + 1 < s.output_width;
      upstream[v] = interleave(first, has_next ? load_masked(x + 1, v) : RawVector<T>{});
      if (FIRST) bias_sums[v] = dot(bias_sums[v], upstream[v], broadcast(pack(one, one)));
    }
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; t++)
      for (int v = 0; v < VECTORS; v++)
        filter_sums[t][v] = dot(filter_sums[t][v], broadcast(images[offsets[t] + x * s.channels]), upstream[v]);
  }
  for (int t = 0; t < TAPS; t++)
    for (int v = 0; v < VECTORS; v++) accumulate(filters_gradient + t * s.filters + v * LANES, filter_sums[t][v]);
  if (FIRST)
    for (int v = 0; v < VECTORS; v++) accumulate(bias_gradient + v * LANES, bias_sums[v]);
}

template <int VECTORS, class T>
static void accumulate_row(const ConvolutionShape& s, const Packed<T>* images, const int* offsets,
                           const GradientRow<T>& row, float* filters_gradient, float* bias_gradient) {
  int tap = 0, taps = s.taps();
  auto accumulate_in_steps = [&]<int TAPS>() {
    for (; tap + TAPS <= taps; tap += TAPS) {
      float* gradient = filters_gradient + tap * s.filters;
      if (tap)
        accumulate_taps<TAPS, VECTORS, false>(s, images, offsets + tap, row, gradient, bias_gradient);
      else
        accumulate_taps<TAPS, VECTORS, true>(s, images, offsets, row, gradient, bias_gradient);
    }
  };
  accumulate_in_steps.template operator()<9>();
  accumulate_in_steps.template operator()<3>();
  accumulate_in_steps.template operator()<1>();
}

// images [batch, height, width, channels], outputs and upstream [batch, output_height, output_width, filters]
// -> filters_gradient [kernel_height, kernel_width, channels, filters], bias_gradient [filters]
template <class T>
static void compute_filters_gradient(const ConvolutionShape& s, int threads, const T* images, const T* outputs,
                                     const T* upstream, bool relu, T* filters_gradient, T* bias_gradient) {
  std::vector<int> offsets = tap_offsets(s, 1);
  int filters_size = s.taps() * s.filters, total_size = filters_size + s.filters;
  std::vector<float> sums(size_t(threads) * total_size);  // of each part: the filters' gradient, then the bias'
  Workers::run(threads, [&](int part) {
    std::vector<T> padded(s.padded_image_size()), masked(s.output_row_size());
    std::vector<Packed<T>> packed(s.padded_image_size());
    std::vector<float> part_sums(total_size);
    for (int64_t n = int64_t(s.batch) * part / threads; n < int64_t(s.batch) * (part + 1) / threads; n++) {
      pad_and_pack(s, images + n * s.image_size(), padded, packed);
      for (int y = 0; y < s.output_height; y++) {
        size_t row_start = (n * s.output_height + y) * s.output_row_size();
        const Packed<T>* image_row = packed.data() + y * s.padded_row_size();
        auto accumulate_filters = [&]<int VECTORS>(int f) {
          GradientRow<T> row{outputs + row_start + f, upstream + row_start + f, masked.data() + f, relu};
          accumulate_row<VECTORS>(s, image_row, offsets.data(), row, part_sums.data() + f,
                                  part_sums.data() + filters_size + f);
        };
        int f = 0;
        for (; f + 2 * LANES <= s.filters; f += 2 * LANES) accumulate_filters.template operator()<2>(f);
        if (f < s.filters) accumulate_filters.template operator()<1>(f);
      }
    }
    std::copy(part_sums.begin(), part_sums.end(), sums.begin() + size_t(part) * total_size);
  });
  for (int i = 0; i < total_size; i++) {
    float sum = 0;
    for (int part = 0; part < threads; part++) sum += sums[size_t(part) * total_size + i];
    store_scalar(i < filters_size ? filters_gradient + i : bias_gradient + i - filters_size, sum);
  }
}
