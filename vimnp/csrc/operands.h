/* What a kernel is asked to do: its arrays, their layout, and limits.
 *
 * Every array is float32, but for matrices that are stored small. `stride` is the distance in floats from one token to the next: negative where
 * time runs backwards, so nothing is ever flipped in memory.
 */
#ifndef VIMNP_TASKS_H
#define VIMNP_TASKS_H

#include <stddef.h>
#include <stdint.h>

#include "walk.h"

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

/* What a matrix is stored as: vimnp/weights/encodings.py defines all but the first. */
enum dtype { DTYPE_FLOAT32, DTYPE_BFLOAT16, DTYPE_INT8, DTYPE_INT4, DTYPE_INT8_PER_CHANNEL };

/* Outputs in a panel of a matrix that is stored small, and inputs that share a scale. */
#define SMALL_PANEL 16
#define SHARED 32

/* A matrix (inputs, outputs) in panels of outputs. */
struct matrix {
    ptrdiff_t inputs, outputs;
    enum dtype dtype;
    const float *panels;    /* of float32: see product_float32.h */
    const void *codes;      /* of the others */
    const uint16_t *scales; /* of int8 and int4: bfloat16 */
    const float *scale_of_output; /* of int8_per_channel: (outputs,), and zeros to the panel's end */
    const float *factors;   /* of the same: by which its inputs (inputs,) are multiplied; NULL for ones */
    int dots;               /* how bytes are multiplied: see struct instruction_set */
};

/* Rows of x that stay in the second-level cache while all panels pass over them: whole tiles. */
#define ROWS_AT_ONCE 120

/* SHARED inputs of a row as whole numbers from -127 to 127, which times `scale` are about x. */
struct quantised {
    int8_t q[SHARED];
    float scale;
    int32_t sum; /* of the numbers */
};

/* Floats that a block of a row needs, with room for halves of its numbers: see quantise.h. */
#define FLOATS_OF_BLOCK (int)((sizeof(struct quantised) + SHARED) / sizeof(float))

/* A whole row with one scale; its numbers follow, in bytes or in 16 bits (quantise.h), and zeros that fill
 * the last SHARED of them. */
struct quantised_row {
    float scale;
    int32_t sum; /* of the numbers */
    int32_t unused[2]; /* so that the numbers may begin a vector */
};

/* Floats from such a row to the next, whatever its numbers are kept in. */
static inline ptrdiff_t floats_of_row(ptrdiff_t inputs)
{
    return (ptrdiff_t)(sizeof(struct quantised_row) / sizeof(float)) + (inputs + SHARED - 1) / SHARED * (SHARED / 2);
}

/* Whether rows of x are made whole numbers before they are multiplied with such a matrix. */
static inline int is_of_whole_numbers(enum dtype dtype)
{
    return dtype == DTYPE_INT8 || dtype == DTYPE_INT4 || dtype == DTYPE_INT8_PER_CHANNEL;
}

/* Floats that a product needs for its rows, ROWS_AT_ONCE at a time. */
static inline ptrdiff_t product_scratch(const struct matrix *m, ptrdiff_t rows)
{
    const ptrdiff_t together = rows < ROWS_AT_ONCE ? rows : ROWS_AT_ONCE;
    const ptrdiff_t blocks = (m->inputs + SHARED - 1) / SHARED;
    if (m->dtype == DTYPE_INT8_PER_CHANNEL)
        return together * floats_of_row(m->inputs);
    return is_of_whole_numbers(m->dtype) ? together * blocks * FLOATS_OF_BLOCK : 0;
}

/* In what form rows are quantised: in blocks, the same in halves, or each as a whole. */
enum form { FORM_BLOCKS, FORM_HALVES, FORM_WHOLE };

/* Rows of x that lie quantised in a scratch. None if x is NULL. */
struct kept_rows {
    const float *x;
    struct extent rows;
    ptrdiff_t inputs;
    enum form form;
    const float *factors; /* that they were multiplied by before */
};

static int is_kept(const struct kept_rows *kept, const struct kept_rows *wanted)
{
    return kept && kept->x == wanted->x && kept->rows.begin == wanted->rows.begin &&
           kept->rows.end == wanted->rows.end && kept->inputs == wanted->inputs &&
           kept->form == wanted->form && kept->factors == wanted->factors;
}

/* What becomes of a result, number by number. */
enum activation { ACTIVATION_NONE, ACTIVATION_GELU, ACTIVATION_RELU };

/* out = activation(addend + x @ weights + bias) */
struct product {
    struct matrix weights;
    enum activation activation;
    const float *x, *addend, *bias; /* (rows, inputs); (rows, outputs) and (outputs,), or NULL each */
    float *out;                     /* (rows, outputs) */
    ptrdiff_t x_stride, addend_stride, out_stride;
    int is_quantised;       /* x has rows that are struct quantised_row already */
    float *scratch; /* see product_scratch() */
    struct kept_rows *kept; /* what it holds, where x stays as it is from a product to the next; or NULL */
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
    int taps, silu, directions, coarse; /* coarse: see coarse.h */
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

/* Lines and columns of a depthwise kernel in two dimensions, at most. */
#define MAX_KERNEL 7

/* A depthwise convolution of a grid of tokens, with zeros around it; weight is (kernel * kernel, channels),
 * line by line. */
struct convolution_2d {
    ptrdiff_t height, width, channels;
    struct extent tokens; /* that are asked for; see tokens_ready() */
    int kernel, silu;     /* an odd number of lines and of columns */
    int coarse;           /* SiLU by the functions of coarse.h */
    const float *x, *weight, *bias; /* bias may be NULL */
    float *out;
    ptrdiff_t x_stride, out_stride;
};

/* Of how many tokens, from the first on, the window is within the first `tokens` inputs. */
static ptrdiff_t tokens_ready(const struct convolution_2d *c, ptrdiff_t tokens)
{
    const ptrdiff_t ready = tokens - c->kernel / 2 * (c->width + 1);
    return tokens == c->height * c->width ? tokens : ready > 0 ? ready : 0;
}

/* Neighbouring floats; out may be x. */
struct elements {
    const float *x;
    float *out;
};

/* One direction of a selective scan; A and the states are (d_state, channels). */
struct scan {
    ptrdiff_t length, channels;
    int d_state, delta_softplus, fixlen;
    int B_constant, C_constant; /* (d_state, channels) instead of one row per token */
    int accumulate;             /* add to what `out` holds, before the gate */
    int coarse;                 /* by the functions of coarse.h; then B, C and the mode are the usual ones */
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
    struct walk walk;        /* of all arrays' rows but those of `delta` that dt_proj fills */
    float *dt_of_chunk;      /* where there are both: room for the dt of CHUNK tokens */
};

/* One direction, or some: all of them of some channels before the next channels. */
struct scans {
    int directions;
    const struct scan *of_direction;
};

/* Residual addition if `hidden` is not NULL, then LayerNorm if `bias` is not NULL, else RMSNorm; of that
 * the activation, or times silu(gate) if `gate` is not NULL. */
struct add_norm {
    ptrdiff_t length, channels;
    float *residual, *out;
    const float *hidden, *weight, *bias, *gate;
    ptrdiff_t residual_stride, hidden_stride, out_stride, gate_stride;
    float epsilon;
    enum activation activation;
};

#endif
