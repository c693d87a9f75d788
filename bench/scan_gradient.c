/* The selective scan and its gradient, for training on a CPU; selective_scan_gradient.py compiles it.

       h_t = exp(delta_t A) h_{t-1} + delta_t u_t B_t        h_{-1} = 0
       y_t = C_t . h_t

   u, delta, y and their gradients: (batch, length, channels)
   B, C and their gradients:        (batch, length, STATES)
   A:                               (STATES, channels); its gradient: (batch, STATES, channels)
   starts:                          (batch, ceil(length / CHUNK), STATES, channels)

   To keep the states of all tokens would take STATES times the memory of u. Only those before
   each CHUNK of tokens are kept, and the gradient computes the others again. Channels do not mix:
   WIDTH of them, some vectors, go through all tokens before the next ones begin. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifndef STATES
#define STATES 16
#endif
#define CHUNK 16
#define WIDTH 16

typedef float Block[STATES][WIDTH];

/* e^x for x <= 0, to a relative error of 2e-7: 2^(whole + rest) by the bits of an exponent and
   Taylor's polynomial. It is here because the C library's function is not inlined. */
static inline float decay_of(float x) {
    const float power = fmaxf(x * 1.44269504f, -126.0f), whole = rintf(power);
    const float rest = (power - whole) * 0.693147181f;
    float sum = 1.0f / 720;
    sum = sum * rest + 1.0f / 120;
    sum = sum * rest + 1.0f / 24;
    sum = sum * rest + 1.0f / 6;
    sum = sum * rest + 0.5f;
    sum = sum * rest + 1.0f;
    sum = sum * rest + 1.0f;
    const union { int32_t bits; float value; } scale = {((int32_t)whole + 127) << 23};
    return sum * scale.value;
}

static void load_block(Block block, const float *from, long channels) {
    for (int n = 0; n < STATES; n++)
        memcpy(block[n], from + n * channels, sizeof block[n]);
}

static void store_block(float *to, Block block, long channels) {
    for (int n = 0; n < STATES; n++)
        memcpy(to + n * channels, block[n], sizeof block[n]);
}

long scan_starts(long length) { return (length + CHUNK - 1) / CHUNK; }

int scan_width(void) { return WIDTH; }

void scan(long batch, long length, long channels, const float *restrict u,
          const float *restrict delta, const float *restrict A, const float *restrict B,
          const float *restrict C, float *restrict y, float *restrict starts) {
    for (long b = 0; b < batch; b++)
        for (long first = 0; first < channels; first += WIDTH) {
            Block a, h = {{0}};
            load_block(a, A + first, channels);
            for (long t = 0; t < length; t++) {
                const long token = b * length + t, at = token * channels + first;
                const float *B_t = B + token * STATES, *C_t = C + token * STATES;
                if (t % CHUNK == 0) {
                    const long start = b * scan_starts(length) + t / CHUNK;
                    store_block(starts + start * STATES * channels + first, h, channels);
                }
                float input[WIDTH], sum[WIDTH] = {0};
                for (int c = 0; c < WIDTH; c++)
                    input[c] = delta[at + c] * u[at + c];
                for (int n = 0; n < STATES; n++)
                    for (int c = 0; c < WIDTH; c++) {
                        h[n][c] = decay_of(delta[at + c] * a[n][c]) * h[n][c] + input[c] * B_t[n];
                        sum[c] += h[n][c] * C_t[n];
                    }
                memcpy(y + at, sum, sizeof sum);
            }
        }
}

/* The gradients of B and C must be zero on entry: every block of channels adds to them. */
void scan_gradient(long batch, long length, long channels, const float *restrict u,
                   const float *restrict delta, const float *restrict A, const float *restrict B,
                   const float *restrict C, const float *restrict starts,
                   const float *restrict grad_y, float *restrict grad_u,
                   float *restrict grad_delta, float *restrict grad_A, float *restrict grad_B,
                   float *restrict grad_C) {
    static _Thread_local Block decay[CHUNK], before[CHUNK];
    for (long b = 0; b < batch; b++)
        for (long first = 0; first < channels; first += WIDTH) {
            Block a, of_a = {{0}}, of_h = {{0}}; /* of_h: what later tokens make of h_t */
            load_block(a, A + first, channels);
            for (long chunk = scan_starts(length) - 1; chunk >= 0; chunk--) {
                const long begin = chunk * CHUNK;
                const long end = begin + CHUNK < length ? begin + CHUNK : length;
                const long start = b * scan_starts(length) + chunk;
                Block h;
                load_block(h, starts + start * STATES * channels + first, channels);
                for (long t = begin; t < end; t++) {
                    const long token = b * length + t, at = token * channels + first;
                    const float *B_t = B + token * STATES;
                    for (int n = 0; n < STATES; n++)
                        for (int c = 0; c < WIDTH; c++) {
                            const float kept = decay_of(delta[at + c] * a[n][c]);
                            decay[t - begin][n][c] = kept;
                            before[t - begin][n][c] = h[n][c];
                            h[n][c] = kept * h[n][c] + delta[at + c] * u[at + c] * B_t[n];
                        }
                }
                for (long t = end - 1; t >= begin; t--) {
                    const long token = b * length + t, at = token * channels + first;
                    const float *B_t = B + token * STATES, *C_t = C + token * STATES;
                    float input[WIDTH], of_input[WIDTH] = {0}, of_delta[WIDTH] = {0};
                    for (int c = 0; c < WIDTH; c++)
                        input[c] = delta[at + c] * u[at + c];
                    for (int n = 0; n < STATES; n++) {
                        float of_B = 0, of_C = 0;
                        for (int c = 0; c < WIDTH; c++) {
                            const float kept = decay[t - begin][n][c] * before[t - begin][n][c];
                            const float of_state = of_h[n][c] + grad_y[at + c] * C_t[n];
                            of_C += grad_y[at + c] * (kept + input[c] * B_t[n]);
                            of_B += of_state * input[c];
                            of_input[c] += of_state * B_t[n];
                            of_delta[c] += of_state * kept * a[n][c];
                            of_a[n][c] += of_state * kept * delta[at + c];
                            of_h[n][c] = of_state * decay[t - begin][n][c];
                        }
                        grad_B[token * STATES + n] += of_B;
                        grad_C[token * STATES + n] += of_C;
                    }
                    for (int c = 0; c < WIDTH; c++) {
                        grad_u[at + c] = of_input[c] * delta[at + c];
                        grad_delta[at + c] = of_delta[c] + of_input[c] * u[at + c];
                    }
                }
            }
            store_block(grad_A + b * STATES * channels + first, of_a, channels);
        }
}
