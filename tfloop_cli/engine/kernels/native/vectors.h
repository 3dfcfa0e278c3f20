// Sixteen numbers at a time: float32 in a register, float32 or bfloat16 in memory.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(64), aligned(2), may_alias));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
typedef int16_t SignedHalves __attribute__((vector_size(32), aligned(2), may_alias));
constexpr int WIDTH = 16;

struct bfloat16 {
  uint16_t bits;
};

#define INLINE static inline __attribute__((always_inline))

INLINE Vector splat(float number) { return number - Vector{}; }

INLINE Vector load(const float* from) { return *(const Vector*)from; }

INLINE Vector load(const bfloat16* from) {
  return (Vector)(__builtin_convertvector(*(const Halves*)from, Words) << 16);
}

INLINE void store(float* to, Vector numbers) { *(Vector*)to = numbers; }

INLINE void store(bfloat16* to, Vector numbers) { *(Halves*)to = (Halves)_mm512_cvtneps_pbh((__m512)numbers); }

INLINE void add(float* to, Vector numbers) { store(to, load(to) + numbers); }

INLINE float load1(const float* from) { return *from; }

INLINE float load1(const bfloat16* from) { return __builtin_bit_cast(float, uint32_t(from->bits) << 16); }

INLINE void store1(float* to, float number) { *to = number; }

INLINE void store1(bfloat16* to, float number) { to->bits = __builtin_bit_cast(uint16_t, _mm_cvtness_sbh(number)); }

// What sums are made of: registers full of numbers as they lie in memory. Of bfloat16 each of the sixteen sums gets two at
// a time, since the processor multiplies and adds these in one instruction.
template <class T>
constexpr int PAIR = 4 / sizeof(T);

// Whether a pair of so many numbers has its second one: the last may not, and of float32 none has.
template <class T>
constexpr bool has_second(int pair, int numbers) {
  return PAIR<T> == 2 && 2 * pair + 1 < numbers;
}

INLINE Vector terms(const float* from) { return load(from); }

INLINE Words terms(const bfloat16* from) { return *(const Words*)from; }

INLINE Words terms(const uint32_t* pairs) { return *(const Words*)pairs; }

// Sixteen numbers as they lie in memory.
INLINE Vector raw(const float* from) { return load(from); }

INLINE Halves raw(const bfloat16* from) { return *(const Halves*)from; }

INLINE void store_raw(float* to, Vector numbers) { store(to, numbers); }

INLINE void store_raw(bfloat16* to, Halves numbers) { *(Halves*)to = numbers; }

// Those of `numbers` where `out` is positive, else 0.
INLINE Vector where_positive(Vector out, Vector numbers) { return out > 0 ? numbers : Vector{}; }

INLINE Halves where_positive(Halves out, Halves numbers) { return (SignedHalves)out > 0 ? numbers : Halves{}; }

// Numbers of two sources in turn, and two numbers; of float32 only the first one's.
INLINE Vector in_turn(Vector first, Vector) { return first; }

INLINE Words in_turn(Halves first, Halves second) {
  return __builtin_convertvector(first, Words) | __builtin_convertvector(second, Words) << 16;
}

INLINE float pair(float first, float) { return first; }

INLINE uint32_t pair(bfloat16 first, bfloat16 second) { return first.bits | uint32_t(second.bits) << 16; }

INLINE Words splat(uint32_t pair) { return pair - Words{}; }

// What `pair` makes of numbers of a type.
template <class T>
using Pair = decltype(pair(T{}, T{}));

INLINE Vector dot(Vector sums, Vector a, Vector b) { return sums + a * b; }

INLINE Vector dot(Vector sums, Words a, Words b) {
  return (Vector)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b);
}

// Where two vectors have sums spread over SPREAD numbers each, one vector with all of these, over half as many.
template <int SPREAD>
INLINE Vector fold(Vector a, Vector b) {
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    constexpr int HALF = SPREAD / 2;
    return __builtin_shufflevector(a, b, (I / HALF * SPREAD + I % HALF)...) +
           __builtin_shufflevector(a, b, (I / HALF * SPREAD + I % HALF + HALF)...);
  }(std::make_integer_sequence<int, WIDTH>{});
}

// The sum of each of COUNT vectors, up to sixteen, always in the same order; after them comes nothing.
template <int COUNT, int SPREAD = WIDTH>
INLINE Vector sums(const Vector* all) {
  if constexpr (SPREAD == 1) {
    return all[0];
  } else {
    Vector folded[(COUNT + 1) / 2];
    for (int i = 0; i < COUNT; i += 2) folded[i / 2] = fold<SPREAD>(all[i], i + 1 < COUNT ? all[i + 1] : Vector{});
    return sums<(COUNT + 1) / 2, SPREAD / 2>(folded);
  }
}
