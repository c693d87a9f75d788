/* Digests of what the kernels for AVX-512 compute: the same from the instructions and from their imitation.
 *
 *     cc -O2 -Wno-psabi -ffp-contract=fast -fno-math-errno -fno-trapping-math -I vimnp/csrc digests.c -lm
 *     cc (the same) -include avx512.h digests.c -lm
 *
 * The first one runs where AVX-512 and VNNI are, be it in an emulator: there it tests the instructions that
 * the kernels name in __asm__, too, which the imitation goes around.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include "isa.h"

enum { INPUTS = 100, OUTPUTS = 70, LINES = 13, TOKENS = 40, CHANNELS = 37, SAMPLES = 4000, MOST = 1 << 14 };

static uint64_t state = 88172645463325252u;

static uint32_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20);
}

/* From -size to size. */
static float number(float size) { return ((float)(next_random() % 65537) / 32768.0f - 1.0f) * size; }

static float *numbers(int count, float size)
{
    float *to = aligned_alloc(64, MOST * sizeof(float));
    for (int i = 0; i < MOST; i++)
        to[i] = i < count ? number(size) : 0.0f;
    return to;
}

/* NaNs all count as one: which of two comes out of a sum, the compiler decides. */
static void print(const char *name, int which, const float *result, int count)
{
    uint64_t digest = 14695981039346656037u;
    for (int i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, result + i, sizeof bits);
        if (result[i] != result[i])
            bits = 0x7fc00000;
        digest = (digest ^ bits) * 1099511628211u;
    }
    printf("%s %d %016llx\n", name, which, (unsigned long long)digest);
}

static void functions(void)
{
    float *x = numbers(SAMPLES, 30.0f), *out = numbers(0, 0.0f);
    const float edges[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, 88.0f, 89.0f, 200.0f, -88.0f, -104.0f, -150.0f,
                           1e-40f, -1e-40f, 3e38f, -3e38f, 1e-30f};
    memcpy(x, edges, sizeof edges);
    for (int i = 0; i < 1000; i++)
        x[16 + i] = number(110.0f);
    for (int which = FUNCTION_EXP; which <= FUNCTION_COARSE_SILU; which++) {
        apply_avx512(which, x, out, SAMPLES);
        print("function", which, out, SAMPLES);
    }
}

static void products(void)
{
    float *x = numbers(LINES * INPUTS, 2.0f), *out = numbers(0, 0.0f), *bias = numbers(OUTPUTS, 1.0f);
    float *panels = numbers(MOST, 1.0f), *scales = numbers(OUTPUTS, 0.01f), *scratch = numbers(0, 0.0f);
    uint16_t *halves = malloc(MOST * 4 * sizeof *halves);
    uint8_t *codes = malloc(MOST * 4);
    for (int i = 0; i < MOST * 4; i++) {
        codes[i] = (uint8_t)(1 + next_random() % 255);
        halves[i] = (uint16_t)((next_random() & 0x807f) | 0x3c00);
    }
    for (int which = 0; which < 30; which++) {
        const int dtype = which % 5, dots = which / 5 % 2, activation = which / 10;
        struct product p = {
            .weights = {.inputs = INPUTS, .outputs = OUTPUTS, .dtype = dtype, .panels = panels,
                        .codes = dtype == DTYPE_BFLOAT16 ? (void *)halves : codes, .scales = halves,
                        .scale_of_output = scales, .factors = which % 2 ? bias : NULL, .dots = dots},
            .activation = activation, .x = x, .bias = bias, .out = out, .scratch = scratch,
            .x_stride = INPUTS, .out_stride = 80};
        if (dtype != DTYPE_INT8_PER_CHANNEL)
            p.weights.factors = NULL;
        memset(out, 0, MOST * sizeof(float));
        product_avx512(&p, (struct extent){0, LINES}, (struct extent){0, OUTPUTS});
        print("product", which, out, LINES * 80);
    }
}

static void scans(void)
{
    float *u = numbers(TOKENS * CHANNELS, 2.0f), *delta = numbers(TOKENS * CHANNELS, 3.0f);
    float *z = numbers(TOKENS * CHANNELS, 5.0f), *out = numbers(0, 0.0f), *D = numbers(CHANNELS, 1.0f);
    float *A = numbers(16 * CHANNELS, 4.0f), *B = numbers(TOKENS * 16, 1.0f), *C = numbers(TOKENS * 16, 1.0f);
    for (int i = 0; i < 16 * CHANNELS; i++)
        A[i] = -fabsf(A[i]) - 0.01f;
    const int states[] = {1, 2, 8, 16};
    for (int which = 0; which < 16; which++) {
        const int n = states[which % 4];
        const struct scan one = {
            .length = TOKENS, .channels = CHANNELS, .d_state = n, .delta_softplus = 1, .coarse = which / 4 % 2,
            .scale = 1.0f, .u = u, .delta = delta, .A = A, .B = B, .C = C, .D = D, .z = which / 8 ? z : NULL,
            .delta_bias = D, .u_stride = CHANNELS, .delta_stride = CHANNELS, .B_stride = n, .C_stride = n,
            .z_stride = CHANNELS, .out_stride = CHANNELS, .out = out};
        const struct scans all = {1, &one};
        memset(out, 0, MOST * sizeof(float));
        scan_channels_avx512(&all, 0, CHANNELS);
        print("scan", which, out, TOKENS * CHANNELS);
    }
}

static void others(void)
{
    float *x = numbers(TOKENS * CHANNELS, 2.0f), *out = numbers(0, 0.0f), *weight = numbers(9 * CHANNELS, 1.0f);
    for (int which = 0; which < 4; which++) {
        const struct convolution_2d c = {
            .height = 5, .width = 8, .channels = CHANNELS, .tokens = {0, TOKENS}, .kernel = 3, .silu = which % 2,
            .coarse = which / 2, .x = x, .weight = weight, .bias = weight, .out = out, .x_stride = CHANNELS,
            .out_stride = CHANNELS};
        convolve_channels_2d_avx512(&c, 0, CHANNELS);
        print("conv2d", which, out, TOKENS * CHANNELS);
    }
    for (int which = 0; which < 2; which++) {
        const struct add_norm n = {
            .length = TOKENS, .channels = CHANNELS, .residual = x, .out = out, .hidden = x, .weight = weight,
            .bias = which ? weight : NULL, .residual_stride = CHANNELS, .hidden_stride = CHANNELS,
            .out_stride = CHANNELS, .epsilon = 1e-5f};
        add_norm_tokens_avx512(&n, 0, TOKENS);
        print("norm", which, out, TOKENS * CHANNELS);
    }
}

int main(void)
{
    functions();
    products();
    scans();
    others();
    return 0;
}
