/* Vectors of floats in the GCC and Clang extension, so that one source serves every instruction set.
 *
 * PYCONV_AVX512 and PYCONV_AVX2 come from the build (with the matching -m flags); without them a vector has the 128
 * bits that SSE and NEON share. */
#ifndef PYCONV_VECTOR_H
#define PYCONV_VECTOR_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(PYCONV_AVX512)
#define VL 16
#define REGISTERS 32
#elif defined(PYCONV_AVX2)
#define VL 8
#define REGISTERS 16
#elif defined(__aarch64__)
#define VL 4
#define REGISTERS 32
#else
#define VL 4
#define REGISTERS 16
#endif

typedef float vec __attribute__((vector_size(4 * VL)));
typedef float vec_unaligned __attribute__((vector_size(4 * VL), aligned(4), may_alias));

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

static inline vec load(const float *p) {
    return *(const vec_unaligned *)p;
}
static inline void store(float *p, vec v) {
    *(vec_unaligned *)p = v;
}
static inline vec broadcast(float f) {
    return f - (vec){0};
} /* f + 0 is not f where f is -0: an instruction more */

static inline float sum_lanes(vec v) {
    float f[VL];
    store(f, v);
    UNROLL
    for (int n = VL / 2; n; n /= 2) UNROLL
    for (int i = 0; i < n; i++) f[i] += f[i + n];
    return f[0];
}

/* Load once into a register: a load that the compiler repeats inside each multiplication costs double where it crosses
 * a cache line. */
static inline vec load_once(const float *p) {
    vec v = load(p);
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#elif defined(__aarch64__)
    __asm__("" : "+w"(v));
#endif
    return v;
}

/* Write a vector to every second one of 2 VL floats, from the first or the second on; the others stay. */
static inline void store_every_second(float *p, vec v, int second, int add) {
#if defined(__clang__)
    for (int i = 0; i < VL; i++) p[2 * i + second] = (add ? p[2 * i + second] : 0) + v[i];
#else
    typedef int32_t lanes __attribute__((vector_size(4 * VL)));
    UNROLL
    for (int half = 0; half < 2; half++) {
        lanes from;
        UNROLL
        for (int i = 0; i < VL; i++) from[i] = i % 2 == second ? half * VL / 2 + i / 2 : VL + i;
        const vec old = load(p + half * VL);
        store(p + half * VL, add ? old + __builtin_shuffle(v, (vec){0}, from) : __builtin_shuffle(v, old, from));
    }
#endif
}

static inline int64_t min64(int64_t a, int64_t b) {
    return a < b ? a : b;
}
static inline int64_t max64(int64_t a, int64_t b) {
    return a > b ? a : b;
}
static inline int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

#endif
