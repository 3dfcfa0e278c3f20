// Sixteen numbers at a time: float32 in a register, float32 or bfloat16 in memory.
#pragma once
#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t Words __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
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

// The sum of the sixteen, always in the same order.
INLINE float sum(Vector all) {
  all += __builtin_shufflevector(all, all, 8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15);
  all += __builtin_shufflevector(all, all, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7, 4, 5, 6, 7);
  all += __builtin_shufflevector(all, all, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3, 2, 3);
  return all[0] + all[1];
}
