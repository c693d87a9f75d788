/* What a kernel is asked to do: its arrays, their layout, and limits.
 *
 * Every array is float32. `stride` is the distance in floats from one token to the next: negative where
 * time runs backwards, so nothing is ever flipped in memory.
 */
#ifndef VIMNP_TASKS_H
#define VIMNP_TASKS_H

#include <stddef.h>

/* The d_state limit of the original's CUDA kernel. */
#define MAX_STATES 256
#define MAX_TAPS 64
/* States of all channels that a thread scans together, 16 KB: those of 256 channels in Vim. All arrays of
 * a kernel together keep within 48 KB, because a thread's stack may be small: 128 KB in all with musl. */
#define STATES 4096
/* States of a vector of channels that a chunk of tokens is taken through together: in Vim all. */
#define STATES_AT_ONCE 16

/* Tokens that a kernel takes through its phases together: what passes between two phases then stays in
 * the first-level cache. */
#define CHUNK 32

struct extent {
    ptrdiff_t begin, end;
};

/* What is in both; ends where it begins if nothing is. */
static struct extent common(struct extent a, struct extent b)
{
    const ptrdiff_t begin = a.begin > b.begin ? a.begin : b.begin;
    const ptrdiff_t end = a.end < b.end ? a.end : b.end;
    return (struct extent){begin, end > begin ? end : begin};
}

/* Floats in a cache line. */
#define LINE 16

/* A matrix (inputs, outputs) in panels: see product.h. */
struct matrix {
    ptrdiff_t inputs, outputs;
    const float *panels;
};

/* out = addend + x @ weights + bias */
struct product {
    struct matrix weights;
    const float *x, *addend, *bias; /* (rows, inputs); (rows, outputs) and (outputs,), or NULL each */
    float *out;                     /* (rows, outputs) */
    ptrdiff_t x_stride, addend_stride, out_stride;
};

/* One direction of a convolution; weight is (taps, channels). */
struct filter {
    const float *weight, *bias; /* bias may be NULL */
    float *out;
    ptrdiff_t out_stride;
};

/* A forward convolution, and a backward one where there are two directions. */
struct convolution {
    ptrdiff_t length, channels;
    struct extent positions; /* of the window's newest token; see last_position */
    int taps, silu, directions;
    const float *x;
    ptrdiff_t x_stride;
    struct filter filters[2];
    /* (taps - 1, channels), of one direction: the inputs before the first, newest last. The positions
     * that end the sequence leave its last inputs here. NULL: zeros came before. */
    float *state;
};

/* Where the window has left the sequence, and the backward direction's last outputs are ready. */
static ptrdiff_t last_position(const struct convolution *c)
{
    return c->length + (c->directions - 1) * (c->taps - 1);
}

/* One direction of a selective scan; A and the states are (d_state, channels). */
struct scan {
    ptrdiff_t length, channels;
    int d_state, delta_softplus, fixlen;
    int B_constant, C_constant; /* (d_state, channels) instead of one row per token */
    int accumulate;             /* add to what `out` holds, before the gate */
    float scale;                /* multiplies the gated output */
    const float *u, *delta, *A, *B, *C;
    const float *D, *z, *delta_bias; /* each may be NULL */
    ptrdiff_t u_stride, delta_stride, B_stride, C_stride, z_stride, out_stride;
    float *out;
    /* Before the first token, NULL if zero, and after the last one, NULL if not wanted. They may be the
     * same memory. */
    const float *initial_state;
    float *last_state;
    struct product dt_proj;  /* if it has inputs, fills `delta`, which then has the tokens of one chunk */
};

/* One direction, or a forward and a backward one: both of some channels before the next channels. */
struct scans {
    int directions;
    const struct scan *of_direction;
};

/* Residual addition if `hidden` is not NULL, then LayerNorm if `bias` is not NULL, else RMSNorm. */
struct add_norm {
    ptrdiff_t length, channels;
    float *residual, *out;
    const float *hidden, *weight, *bias;
    ptrdiff_t residual_stride, hidden_stride, out_stride;
    float epsilon;
};

#endif
