/* The kernels of one instruction set, and the table by which they are called.
 *
 * Included once for each instruction set by isa.h, which sets
 *     ISA         one of ISA_SCALAR, ISA_SSE2, ISA_AVX2, ISA_AVX512, ISA_NEON
 *     FN(name)    name with the instruction set's suffix
 * so neither this file nor those that it includes have an include guard.
 *
 * Every kernel runs a part of its task (operands.h), from `begin` to `end`; parts do not depend on each
 * other, so a result's bits do not depend on how a task is split.
 */

#include "simd.h"
#include "exp.h"
#include "coarse.h"

/* How many of the channels from this one on lie in its vector. */
INLINE int FN(lanes_from)(ptrdiff_t channel, ptrdiff_t end)
{
    return (int)(end - channel < W ? end - channel : W);
}

/* How many of the tokens from this one on lie in its chunk of `longest`. */
INLINE int FN(chunk_from)(ptrdiff_t first, ptrdiff_t end, int longest)
{
    return (int)(end - first < longest ? end - first : longest);
}

/* A parameter of every channel, zero where it is not given. */
INLINE FN(vec) FN(load_optional)(const float *from, ptrdiff_t channel, int lanes)
{
    return from ? FN(load)(from + channel, lanes) : FN(set1)(0.0f);
}

#include "conv1d.h"
#include "conv2d.h"
#include "gelu.h"
#include "relu.h"
#include "whole.h"
#include "product_float32.h"
#include "small.h"
#include "product_bfloat16.h"
#include "product_blocks.h"
#include "product_per_channel.h"
#include "product.h"
#include "scan.h"
#include "norm.h"
#include "rotate.h"
#include "embed.h"
#include "patches.h"
#include "lookup.h"
#include "reductions.h"
#include "interpreter.h"

/* The functions of exp.h, coarse.h and gelu.h on an array: what the tests of their accuracy call. */
static void FN(apply)(enum function function, const float *x, float *out, ptrdiff_t length)
{
    for (ptrdiff_t i = 0; i < length; i += W) {
        const int lanes = FN(lanes_from)(i, length);
        FN(vec) value = FN(load)(x + i, lanes), room;
        if (function == FUNCTION_EXP)
            value = FN(exp)(value);
        else if (function == FUNCTION_SOFTPLUS)
            FN(softplus)(&value, &room, 1);
        else if (function == FUNCTION_COARSE_SOFTPLUS)
            FN(coarse_softplus)(&value, &room, 1);
        else if (function == FUNCTION_GELU)
            FN(gelu)(&value, &room, 1);
        else if (function == FUNCTION_COARSE_SILU) {
            FN(coarse_silu_divisors)(&value, &room, 1);
            value = FN(coarse_quotient)(value, room);
        } else {
            FN(silu_divisors)(&value, &room, 1);
            value /= room;
        }
        FN(store)(out + i, value, lanes);
    }
}

/* The products' ceiling, to be timed: multiply-adds without memory, in as many chains as keep the units
 * busy. Each of the `rounds` has CHAINS of them on each lane. */
#undef CHAINS
#define CHAINS 12
static float FN(multiply_adds)(ptrdiff_t rounds, float factor)
{
    FN(vec) sums[CHAINS], total = FN(set1)(0.0f);
    for (int i = 0; i < CHAINS; i++)
        sums[i] = FN(set1)((float)i);
    const FN(vec) factors = FN(set1)(factor);
    for (ptrdiff_t round = 0; round < rounds; round++) {
        UNROLL
        for (int i = 0; i < CHAINS; i++)
            sums[i] = FN(fma)(sums[i], factors, factors);
    }
    for (int i = 0; i < CHAINS; i++)
        total += sums[i];
    return FN(total)(total);
}

static const struct kernels FN(kernels) = {
    .width = W,
    .panel = PANEL * W,
    .rows = ROWS,
    .convolve = FN(convolve_channels),
    .convolve_2d = FN(convolve_channels_2d),
    .scan = FN(scan_channels),
    .add_norm = FN(add_norm_tokens),
    .gelu = FN(gelu_elements),
    .forward = FN(forward),
    .product = FN(product),
    .multiply_adds = FN(multiply_adds),
    .apply = FN(apply),
};
