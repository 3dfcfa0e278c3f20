// Vectors of 16 values, one value per lane: float32 in registers, float32 or bfloat16 in memory.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t UInt32Vector __attribute__((vector_size(64), aligned(2), may_alias));
typedef uint16_t UInt16Vector __attribute__((vector_size(32), aligned(2), may_alias));
typedef int16_t Int16Vector __attribute__((vector_size(32), aligned(2), may_alias));
constexpr int LANES = 16;

struct bfloat16 {
  uint16_t bits;
};

#define INLINE static inline __attribute__((always_inline))

INLINE Vector broadcast(float value) { return value - Vector{}; }

INLINE Vector load(const float* source) { return *(const Vector*)source; }

INLINE Vector load(const bfloat16* source) {
  return (Vector)(__builtin_convertvector(*(const UInt16Vector*)source, UInt32Vector) << 16);
}

INLINE void store(float* target, Vector values) { *(Vector*)target = values; }

INLINE void store(bfloat16* target, Vector values) {
  *(UInt16Vector*)target = (UInt16Vector)_mm512_cvtneps_pbh((__m512)values);
}

// Which lanes of a vector are in use. Memory of the others is not touched.
typedef __mmask16 Lanes;

INLINE Lanes first_lanes(int count) { return count >= LANES ? 0xffff : (1 << count) - 1; }

INLINE Vector load(const float* source, Lanes lanes) { return (Vector)_mm512_maskz_loadu_ps(lanes, source); }

INLINE Vector load(const bfloat16* source, Lanes lanes) {
  UInt16Vector bits = (UInt16Vector)_mm256_maskz_loadu_epi16(lanes, source);
  return (Vector)(__builtin_convertvector(bits, UInt32Vector) << 16);
}

INLINE void store(float* target, Lanes lanes, Vector values) { _mm512_mask_storeu_ps(target, lanes, (__m512)values); }

INLINE void store(bfloat16* target, Lanes lanes, Vector values) {
  _mm256_mask_storeu_epi16(target, lanes, (__m256i)_mm512_cvtneps_pbh((__m512)values));
}

INLINE void accumulate(float* target, Vector values) { store(target, load(target) + values); }

INLINE float load_scalar(const float* source) { return *source; }

INLINE float load_scalar(const bfloat16* source) { return __builtin_bit_cast(float, uint32_t(source->bits) << 16); }

INLINE void store_scalar(float* target, float value) { *target = value; }

INLINE void store_scalar(bfloat16* target, float value) {
  target->bits = __builtin_bit_cast(uint16_t, _mm_cvtness_sbh(value));
}

// The number of values that `dot` multiplies per lane: 2 for bfloat16, because the processor multiplies and adds two of
// them per lane in one instruction, and 1 for float32. These values are packed into 32 bits.
template <class T>
constexpr int PACK_SIZE = 4 / sizeof(T);

// Returns whether the pack with the given index has a second value, if `count` values are packed. A pack of float32
// never has one. The last pack of bfloat16 has none if `count` is odd.
template <class T>
constexpr bool has_second(int index, int count) {
  return PACK_SIZE<T> == 2 && 2 * index + 1 < count;
}

// Loads one pack per lane.
INLINE Vector load_packed(const float* source) { return load(source); }

INLINE UInt32Vector load_packed(const bfloat16* source) { return *(const UInt32Vector*)source; }

INLINE UInt32Vector load_packed(const uint32_t* packs) { return *(const UInt32Vector*)packs; }

// Loads 16 values without conversion.
INLINE Vector load_raw(const float* source) { return load(source); }

INLINE UInt16Vector load_raw(const bfloat16* source) { return *(const UInt16Vector*)source; }

INLINE void store_raw(float* target, Vector values) { store(target, values); }

INLINE void store_raw(bfloat16* target, UInt16Vector values) { *(UInt16Vector*)target = values; }

// Returns `gradient` where `outputs` is positive, 0 elsewhere.
INLINE Vector relu_mask(Vector outputs, Vector gradient) { return outputs > 0 ? gradient : Vector{}; }

INLINE UInt16Vector relu_mask(UInt16Vector outputs, UInt16Vector gradient) {
  return (Int16Vector)outputs > 0 ? gradient : UInt16Vector{};
}

// Packs the values of two vectors lane by lane. For float32, it returns `first` and ignores the second argument.
INLINE Vector interleave(Vector first, Vector) { return first; }

INLINE UInt32Vector interleave(UInt16Vector first, UInt16Vector second) {
  return __builtin_convertvector(first, UInt32Vector) | __builtin_convertvector(second, UInt32Vector) << 16;
}

// Packs two values. For float32, it returns `first` and ignores the second argument.
INLINE float pack(float first, float) { return first; }

INLINE uint32_t pack(bfloat16 first, bfloat16 second) { return first.bits | uint32_t(second.bits) << 16; }

INLINE UInt32Vector broadcast(uint32_t packed) { return packed - UInt32Vector{}; }

// The types of one pack, of a vector of packs, and of a vector of unconverted values.
template <class T>
using Packed = decltype(pack(T{}, T{}));
template <class T>
using PackedVector = decltype(load_packed((const T*)nullptr));
template <class T>
using RawVector = decltype(load_raw((const T*)nullptr));

// Adds the dot products of the packs of `a` and `b` to `sums`, lane by lane.
INLINE Vector dot(Vector sums, Vector a, Vector b) { return sums + a * b; }

INLINE Vector dot(Vector sums, UInt32Vector a, UInt32Vector b) {
  return (Vector)_mm512_dpbf16_ps((__m512)sums, (__m512bh)a, (__m512bh)b);
}

// One step of a horizontal sum. `a` and `b` hold sums, each spread over PARTS adjacent lanes. The result holds the sums
// of `a` followed by those of `b`, each spread over PARTS / 2 lanes.
template <int PARTS>
INLINE Vector halve_parts(Vector a, Vector b) {
  return [&]<int... I>(std::integer_sequence<int, I...>) {
    constexpr int HALF = PARTS / 2;
    return __builtin_shufflevector(a, b, (I / HALF * PARTS + I % HALF)...) +
           __builtin_shufflevector(a, b, (I / HALF * PARTS + I % HALF + HALF)...);
  }(std::make_integer_sequence<int, LANES>{});
}

// Returns the horizontal sum of each of COUNT vectors, at most 16, in the first COUNT lanes, and 0 in the other lanes.
// The order of the additions is fixed.
template <int COUNT, int PARTS = LANES>
INLINE Vector horizontal_sums(const Vector* vectors) {
  if constexpr (PARTS == 1) {
    return vectors[0];
  } else {
    Vector halved[(COUNT + 1) / 2];
    for (int i = 0; i < COUNT; i += 2)
      halved[i / 2] = halve_parts<PARTS>(vectors[i], i + 1 < COUNT ? vectors[i + 1] : Vector{});
    return horizontal_sums<(COUNT + 1) / 2, PARTS / 2>(halved);
  }
}
