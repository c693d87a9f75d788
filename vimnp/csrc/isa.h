/* The kernels for every instruction set of this architecture, and the choice among them.
 *
 * kernels.h is included once for each set, between pragmas that let the compiler use it there and only
 * there: one binary serves every machine of the architecture, and nothing else in it needs more than
 * the architecture's baseline. A compiler without vector extensions gets the scalar build of the same
 * source.
 */
#ifndef VIMNP_ISA_H
#define VIMNP_ISA_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ahead.h"
#include "cpu.h"
#include "operands.h"
#include "team.h"
#include "worker.h"

enum function {
    FUNCTION_EXP, FUNCTION_SOFTPLUS, FUNCTION_SILU, FUNCTION_GELU, FUNCTION_COARSE_SOFTPLUS, FUNCTION_COARSE_SILU
};

struct kernels {
    int width, panel, rows;  /* W; outputs in a panel of a packed matrix; rows of a product's tile */
    part_function convolve;  /* of a struct convolution: channels */
    part_function convolve_2d; /* of a struct convolution_2d: channels */
    part_function scan;      /* of a struct scans: channels */
    part_function add_norm;  /* of a struct add_norm: tokens */
    part_function gelu;      /* of a struct elements: floats */
    member_function forward; /* of a struct pass */
    void (*product)(const struct product *p, struct extent rows, struct extent columns);
    float (*multiply_adds)(ptrdiff_t rounds, float factor); /* CHAINS of W lanes in a round */
    void (*apply)(enum function, const float *x, float *out, ptrdiff_t length);
};

#define ISA_SCALAR 0
#define ISA_SSE2 1
#define ISA_AVX2 2
#define ISA_AVX512 3
#define ISA_NEON 4

#define CONCATENATE(name, suffix) name##_##suffix
#define WITH_SUFFIX(name, suffix) CONCATENATE(name, suffix)
#define FN(name) WITH_SUFFIX(name, SUFFIX)

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#else
#define INLINE static __inline
#define NOINLINE static
#endif
/* States or sums in registers need the loop over them written out; clang does so by itself. */
#if defined(__GNUC__) && !defined(__clang__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

#if VIMNP_X86
#include <immintrin.h>
#if defined(_MSC_VER) /* clang-cl, where the file above leaves out what the baseline does not have */
#include <avxintrin.h>
#include <avx2intrin.h>
#include <fmaintrin.h>
#include <avx512fintrin.h>
#include <avx512bwintrin.h>
#endif
#define WITH_DOTS
/* AVX-VNNI's instruction is written by its name: the assemblers that come with these compilers know it. */
#if defined(__clang__)
#define VIMNP_AVX_VNNI (__clang_major__ >= 13)
#else
#define VIMNP_AVX_VNNI (__GNUC__ >= 12)
#endif
/* CI leaves AVX-512 out (0) where it looks for errors of memory and of threads on a machine that lacks it. */
#ifndef VIMNP_AVX512
#define VIMNP_AVX512 1
#endif
#elif VIMNP_ARM
#include <arm_neon.h>
#if defined(__ARM_FEATURE_DOTPROD)
#define WITH_DOTS
#elif defined(__clang__)
#define WITH_DOTS __attribute__((target("dotprod")))
#else
#define WITH_DOTS __attribute__((target("arch=armv8.2-a+dotprod")))
#endif
#endif

/* Without vectors a product and a sum are not fused. Where the machine can, the compiler would fuse them in
 * one copy of a loop and not in another, and a result's bits would depend on how a sequence is cut. */
#if defined(__clang__)
#pragma clang fp contract(off)
#elif defined(__GNUC__)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=off")
#endif
#define ISA ISA_SCALAR
#define SUFFIX scalar
#include "kernels.h"
#undef ISA
#undef SUFFIX
#if defined(__clang__)
#pragma clang fp contract(fast)
#elif defined(__GNUC__)
#pragma GCC pop_options
#endif

#if VIMNP_X86
#define ISA ISA_SSE2
#define SUFFIX baseline
#include "kernels.h"
#undef ISA
#undef SUFFIX

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA ISA_AVX2
#define SUFFIX avx2
#include "kernels.h"
#undef ISA
#undef SUFFIX
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

#if VIMNP_AVX512
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw"))), apply_to = function)
#else
#pragma GCC push_options
#if VIMNP_IMITATED
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512bw,prefer-vector-width=512")
#endif
#endif
#define ISA ISA_AVX512
#define SUFFIX avx512
#include "kernels.h"
#undef ISA
#undef SUFFIX
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
#endif

#if VIMNP_ARM
#define ISA ISA_NEON
#define SUFFIX neon
#include "kernels.h"
#undef ISA
#undef SUFFIX
#endif

/* An instruction set by name, and whether this machine has it. Two of them may have their kernels in common:
 * `dots` says that bytes are multiplied and added up in one instruction (VNNI; SDOT). Products with int8 and
 * int4 alone differ by it, and not in what they compute. */
struct instruction_set {
    const char *name;
    const struct kernels *kernels;
    int dots, available;
};

#define MOST_SETS 6

/* Fills `sets`, fastest first, and returns their number. */
static int list_instruction_sets(struct instruction_set sets[MOST_SETS])
{
    int count = 0;
    const struct cpu_features has = find_cpu_features();
#if VIMNP_X86
#if VIMNP_AVX512
    sets[count++] = (struct instruction_set){"avx512vnni", &kernels_avx512, 1, has.avx512_vnni};
    sets[count++] = (struct instruction_set){"avx512", &kernels_avx512, 0, has.avx512};
#endif
#if VIMNP_AVX_VNNI
    sets[count++] = (struct instruction_set){"avxvnni", &kernels_avx2, 1, has.avx_vnni};
#endif
    sets[count++] = (struct instruction_set){"avx2", &kernels_avx2, 0, has.avx2};
    sets[count++] = (struct instruction_set){"baseline", &kernels_baseline, 0, 1};
#elif VIMNP_ARM
    sets[count++] = (struct instruction_set){"neondotprod", &kernels_neon, 1, has.dotprod};
    sets[count++] = (struct instruction_set){"neon", &kernels_neon, 0, 1};
#endif
    sets[count++] = (struct instruction_set){"scalar", &kernels_scalar, 0, 1};
    (void)has;
    return count;
}

#endif
