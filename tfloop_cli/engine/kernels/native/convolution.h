// A convolution of few channels, as the first of a net is: a dozen products a number, of which vectors hold sixteen
// filters. Bias and relu are in it, so that each number is written once.
#pragma once
#include <algorithm>
#include <vector>

#include "vectors.h"
#include "workers.h"

struct Shape {
  int batch, height, width, channels;  // of the images
  int rows, columns, filters;          // of what comes out, and of the filters:
  int taps_down, taps_across;
  int above, before;  // zeros around an image

  int taps() const { return taps_down * taps_across * channels; }
  int padded_width() const { return (columns + taps_across - 1) * channels; }  // in numbers, as the next two
  int padded() const { return (rows + taps_down - 1) * padded_width(); }
  size_t image() const { return size_t(height) * width * channels; }
  size_t row() const { return size_t(columns) * filters; }
};

// Where taps lie from the place that they are for, in the padded image: each, or of each row every second one.
static std::vector<int> offsets(const Shape& s, int every) {
  std::vector<int> all;
  for (int i = 0; i < s.taps_down; i++)
    for (int j = 0; j < s.taps_across; j += every)
      for (int c = 0; c < s.channels; c++) all.push_back(i * s.padded_width() + j * s.channels + c);
  return all;
}

// An image with zeros around it, each number paired with that of the next place.
template <class T>
static void pad(const Shape& s, const T* image, std::vector<T>& padded, std::vector<Pair<T>>& pairs) {
  for (int y = 0, line = s.width * s.channels; y < s.height; y++)
    std::copy_n(image + y * line, line, padded.begin() + (y + s.above) * s.padded_width() + s.before * s.channels);
  for (int i = 0; i < s.padded(); i++) pairs[i] = pair(padded[i], i + s.channels < s.padded() ? padded[i + s.channels] : T{});
}

// VECTORS times sixteen filters at PLACES places side by side: as many sums in registers at once.
template <int PLACES, int VECTORS, class T>
INLINE void convolve_places(const Shape& s, const Pair<T>* in, const std::vector<int>& offset, const Pair<T>* filters,
                            const float* bias, bool relu, T* out) {
  Vector sums[PLACES][VECTORS];
  for (auto& place : sums)
    for (int v = 0; v < VECTORS; v++) place[v] = load(bias + v * WIDTH);
  for (size_t t = 0; t < offset.size(); t++)
    for (int v = 0; v < VECTORS; v++) {
      auto filter = terms(filters + t * s.filters + v * WIDTH);
      for (int p = 0; p < PLACES; p++) sums[p][v] = dot(sums[p][v], splat(in[offset[t] + p * s.channels]), filter);
    }
  for (int p = 0; p < PLACES; p++)
    for (int v = 0; v < VECTORS; v++) {
      Vector sum = sums[p][v];
      if (relu) sum = sum < 0 ? Vector{} : sum;  // so that what is no number stays none
      store(out + p * s.filters + v * WIDTH, sum);
    }
}

template <int VECTORS, class T>
static void convolve_row(const Shape& s, const Pair<T>* in, const std::vector<int>& offset, const Pair<T>* filters,
                         const float* bias, bool relu, T* out) {
  int x = 0;
  auto places = [&]<int PLACES>() {
    for (; x + PLACES <= s.columns; x += PLACES)
      convolve_places<PLACES, VECTORS>(s, in + x * s.channels, offset, filters, bias, relu, out + x * s.filters);
  };
  places.template operator()<8>();
  places.template operator()<2>();
  places.template operator()<1>();
}

// The filters as `offsets(s, PAIR<T>)` has the taps, those of two taps side by side paired.
template <class T>
static std::vector<Pair<T>> paired(const Shape& s, const T* filters) {
  std::vector<Pair<T>> all;
  int tap = s.channels * s.filters;
  for (int i = 0; i < s.taps_down; i++)
    for (int j = 0; j < s.taps_across; j += PAIR<T>)
      for (int f = 0; f < tap; f++) {
        const T* first = filters + (i * s.taps_across + j) * tap + f;
        all.push_back(pair(first[0], j + 1 < s.taps_across ? first[tap] : T{}));
      }
  return all;
}

// images [batch, height, width, channels], filters [taps_down, taps_across, channels, filters], bias [filters]
// -> [batch, rows, columns, filters]
template <class T>
static void convolve(const Shape& s, int threads, const T* images, const T* filters, const T* bias, bool relu, T* out) {
  std::vector<int> offset = offsets(s, PAIR<T>);
  std::vector<Pair<T>> f = paired(s, filters);
  std::vector<float> b(s.filters);
  for (int i = 0; i < s.filters; i++) b[i] = load1(bias + i);
  Workers::run(threads, [&](int share) {
    std::vector<T> padded(s.padded());
    std::vector<Pair<T>> pairs(s.padded());
    for (int64_t n = int64_t(s.batch) * share / threads; n < int64_t(s.batch) * (share + 1) / threads; n++) {
      pad(s, images + n * s.image(), padded, pairs);
      for (int y = 0; y < s.rows; y++) {
        const Pair<T>* in = pairs.data() + y * s.padded_width();
        T* row = out + (n * s.rows + y) * s.row();
        int from = 0;
        for (; from + 2 * WIDTH <= s.filters; from += 2 * WIDTH)
          convolve_row<2>(s, in, offset, f.data() + from, b.data() + from, relu, row + from);
        if (from < s.filters) convolve_row<1>(s, in, offset, f.data() + from, b.data() + from, relu, row + from);
      }
    }
  });
}

// One row of what is passed on from above: where relu let nothing through, `masked` has nothing.
template <class T>
struct Row {
  const T *out, *outer;
  T* masked;
  bool relu;
};

// Adds one row's part to the sums of TAPS taps of VECTORS times sixteen filters: summed by itself first, in registers,
// which is nearer to the truth than thousands of additions to one number. The FIRST taps of a row mask it on their way,
// and add up the bias' gradient.
template <int TAPS, int VECTORS, bool FIRST, class T>
INLINE void learn_taps(const Shape& s, const Pair<T>* in, const int* offset, const Row<T>& row, float* sums, float* bias) {
  Vector all[TAPS][VECTORS]{}, total[VECTORS]{};
  T one;
  store1(&one, 1);
  auto passed_on = [&](int x, int v) {
    int at = x * s.filters + v * WIDTH;
    if (!FIRST) return raw(row.masked + at);
    auto here = raw(row.outer + at);
    if (row.relu) here = where_positive(raw(row.out + at), here);
    if (s.taps() > TAPS) store_raw(row.masked + at, here);
    return here;
  };
  for (int x = 0; x < s.columns; x += PAIR<T>) {
    decltype(terms(row.out)) here[VECTORS];
    for (int v = 0; v < VECTORS; v++) {
      auto first = passed_on(x, v);
      here[v] = in_turn(first, PAIR<T> == 2 && x + 1 < s.columns ? passed_on(x + 1, v) : decltype(first){});
      if (FIRST) total[v] = dot(total[v], here[v], splat(pair(one, one)));
    }
#pragma GCC unroll 9
    for (int t = 0; t < TAPS; t++)
      for (int v = 0; v < VECTORS; v++) all[t][v] = dot(all[t][v], splat(in[offset[t] + x * s.channels]), here[v]);
  }
  for (int t = 0; t < TAPS; t++)
    for (int v = 0; v < VECTORS; v++) add(sums + t * s.filters + v * WIDTH, all[t][v]);
  if (FIRST)
    for (int v = 0; v < VECTORS; v++) add(bias + v * WIDTH, total[v]);
}

template <int VECTORS, class T>
static void learn_row(const Shape& s, const Pair<T>* in, const int* offset, const Row<T>& row, float* sums, float* bias) {
  int tap = 0, taps = s.taps();
  auto learn = [&]<int TAPS>() {
    for (; tap + TAPS <= taps; tap += TAPS) {
      float* here = sums + tap * s.filters;
      if (tap)
        learn_taps<TAPS, VECTORS, false>(s, in, offset + tap, row, here, bias);
      else
        learn_taps<TAPS, VECTORS, true>(s, in, offset, row, here, bias);
    }
  };
  learn.template operator()<9>();
  learn.template operator()<3>();
  learn.template operator()<1>();
}

// out and outer [batch, rows, columns, filters], what came out and its gradient -> those of filters and bias
template <class T>
static void learn_filters(const Shape& s, int threads, const T* images, const T* out, const T* outer, bool relu, T* filters,
                          T* bias) {
  std::vector<int> offset = offsets(s, 1);
  int weights = s.taps() * s.filters, all = weights + s.filters;
  std::vector<float> sums(size_t(threads) * all);
  Workers::run(threads, [&](int share) {
    std::vector<T> padded(s.padded()), masked(s.row());
    std::vector<Pair<T>> pairs(s.padded());
    std::vector<float> mine(all);
    for (int64_t n = int64_t(s.batch) * share / threads; n < int64_t(s.batch) * (share + 1) / threads; n++) {
      pad(s, images + n * s.image(), padded, pairs);
      for (int y = 0; y < s.rows; y++) {
        size_t at = (n * s.rows + y) * s.row();
        const Pair<T>* in = pairs.data() + y * s.padded_width();
        auto learn = [&]<int VECTORS>(int from) {
          Row<T> row{out + at + from, outer + at + from, masked.data() + from, relu};
          learn_row<VECTORS>(s, in, offset.data(), row, mine.data() + from, mine.data() + weights + from);
        };
        int from = 0;
        for (; from + 2 * WIDTH <= s.filters; from += 2 * WIDTH) learn.template operator()<2>(from);
        if (from < s.filters) learn.template operator()<1>(from);
      }
    }
    std::copy(mine.begin(), mine.end(), sums.begin() + size_t(share) * all);
  });
  for (int i = 0; i < all; i++) {
    float total = 0;
    for (int share = 0; share < threads; share++) total += sums[size_t(share) * all + i];
    store1(i < weights ? filters + i : bias + i - weights, total);
  }
}
