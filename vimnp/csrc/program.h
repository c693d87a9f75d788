/* A network's program, as vimnp/engine/builder.py has built it: stages of operations on arrays.
 *
 * A stage is split among the threads, and over when all of it is done. A part of it goes through the
 * stage's operations back to back, while its data is in the cache. Everything was checked when the
 * program was built: that operands fit each other, their buffers and the kernels' limits.
 */
#ifndef VIMNP_PROGRAM_H
#define VIMNP_PROGRAM_H

#include <stddef.h>

#include "operands.h"
#include "stages.h"

/* Inputs that share a parallel region. */
#define MAX_INPUTS 8
#define MAX_BUFFERS 32
#define MAX_DIRECTIONS 4
/* Patches that a thread gathers from the picture before it multiplies them: whole tiles of rows. */
#define PATCHES 60

/* Buffers that the caller gives; what each thread has of its own; and from FIRST_BUFFER on, the workspace's. */
enum { BUFFER_INPUT, BUFFER_OUT, BUFFER_STATE, BUFFER_PRIVATE, FIRST_BUFFER, NO_BUFFER = -1 };

/* Rows in a buffer, `stride` floats from each to the next: negative where an operation goes backwards. */
struct array {
    int buffer;
    ptrdiff_t offset, stride;
};

enum operation {
    OPERATION_EMBED, OPERATION_LOOKUP, OPERATION_ROTATE, OPERATION_NORM, OPERATION_PRODUCT, OPERATION_CONV1D,
    OPERATION_CONV2D, OPERATION_PATCHES, OPERATION_CONV, OPERATION_SCAN, OPERATION_MEAN, OPERATION_LARGEST,
    OPERATION_COPY, OPERATION_ADD, OPERATION_QUANTISE
};

/* Pixels (channels, height, width), with `padding` zeros around them -> tokens:
 * out = offset + patch @ patch_proj, or the offset alone. */
struct embed_operation {
    ptrdiff_t channels, height, width, columns; /* `columns` patches lie in a row */
    ptrdiff_t patch_height, patch_width, stride, padding;
    struct matrix patch_proj;
    const int *patches;  /* of each token: the number of its patch, or -1 */
    const float *offset; /* (tokens, outputs), or with a stride of zero (outputs,) */
    ptrdiff_t offset_stride;
    struct array pixels, out;
};

/* Tokens, by their ids (rows,) of int -> their embeddings, which are the columns of `table`. */
struct lookup_operation {
    struct matrix table;
    struct array ids, out;
};

/* Pairs of neighbouring channels, rotated in place by an angle for each token and pair. */
struct rotate_operation {
    ptrdiff_t channels;
    const float *cos, *sin; /* (tokens, channels) */
    struct array tokens;
};

/* residual += hidden where there is one; out = its norm, then the activation, or times silu(gate). */
struct norm_operation {
    ptrdiff_t channels;
    const float *weight, *bias; /* bias may be NULL: RMSNorm */
    float epsilon;
    enum activation activation;
    struct array residual, hidden, gate, out;
};

/* out = activation(addend + x @ weights + bias), the outputs from `column` on, which begins a vector. */
struct product_operation {
    struct matrix weights;
    const float *bias; /* may be NULL */
    enum activation activation;
    ptrdiff_t column;
    int is_quantised; /* x has rows of numbers, by a quantise_operation */
    struct array x, addend, out;
};

/* Rows of x -> the whole numbers that products with such a matrix multiply: struct quantised_row each. */
struct quantise_operation {
    struct matrix weights; /* its inputs and their factors are asked for alone */
    struct array x, out;
};

struct conv1d_filter {
    const float *weight, *bias; /* (taps, channels), (channels,) or NULL */
    struct array out;
};

/* x -> a causal convolution for each filter, the second one backwards. With a state, a single filter
 * goes on from the taps - 1 inputs that it holds, and leaves the last ones there. */
struct conv1d_operation {
    ptrdiff_t length, channels;
    int taps, silu, directions, coarse;
    struct array x, state;
    struct conv1d_filter filters[2];
};

/* A depthwise convolution of a grid of tokens; see struct convolution_2d. */
struct conv2d_operation {
    ptrdiff_t height, width, channels;
    int kernel, silu, coarse;
    const float *weight, *bias; /* (kernel * kernel, channels), (channels,) or NULL */
    struct array x, out;
};

/* Patches of a grid of tokens, `columns` of them in a line, with zeros where they lie outside it. A patch
 * has its taps line by line, or column by column, and of each all channels. */
struct token_patches {
    ptrdiff_t height, width, channels, columns;
    ptrdiff_t kernel_height, kernel_width, stride, padding; /* zeros before the first line and column */
    int columns_first;
    struct array x;
};

/* The patches themselves, a row each. */
struct patches_operation {
    struct token_patches patches;
    struct array out;
};

/* out = activation(patches @ weights + bias): a dense convolution. */
struct conv_operation {
    struct token_patches patches;
    struct matrix weights;
    const float *bias; /* may be NULL */
    enum activation activation;
    struct array out;
};

/* One direction of a scan, in the order in which it passes its tokens, or with a walk that says it.
 * delta is there already, or is projected from dt, a chunk of tokens at a time: then dt_proj has inputs.
 * With a state (d_state, d_inner) it goes on from there, and leaves the last one. */
struct scan_direction {
    ptrdiff_t length;
    struct walk walk;
    struct matrix dt_proj;
    const float *delta_bias, *A, *D; /* (d_inner,), (d_state, d_inner), (d_inner,) */
    struct array u, dt, delta, B, C, z, out; /* z only where this direction completes the sum */
    struct array state;
};

/* The directions' sum, gated by z and scaled. */
struct scan_operation {
    ptrdiff_t channels;
    int d_state, directions, coarse;
    float scale;
    struct scan_direction of_direction[MAX_DIRECTIONS];
};

/* Over `count` rows of x: their mean, or of each column the largest; their copies; or their sums with those of
 * out, the channels of x taken from `count` groups in turn. */
struct reduction_operation {
    ptrdiff_t count, channels;
    struct array x, out;
};

union operands {
    struct embed_operation embed;
    struct lookup_operation lookup;
    struct rotate_operation rotate;
    struct norm_operation norm;
    struct product_operation product;
    struct conv1d_operation conv1d;
    struct scan_operation scan;
    struct reduction_operation reduction;
    struct conv2d_operation conv2d;
    struct patches_operation patches;
    struct conv_operation conv;
    struct quantise_operation quantise;
};

struct op {
    enum operation kind;
    int label, layer;  /* under which its time is booked */
    struct extent rows; /* those that it is to do, in its own order */
    union operands of;
};

/* What the threads of a stage split. */
enum split { SPLIT_ROWS, SPLIT_COLUMNS };

struct stage {
    enum split split;
    ptrdiff_t length, grain; /* of what is split; parts are whole grains */
    ptrdiff_t rows, block;   /* a part takes its rows so many at a time: of columns all that there are */
    ptrdiff_t prepared; /* of its operations, the first that each thread does for itself, once */
    ptrdiff_t count;
    const struct op *operations;
};

struct program {
    ptrdiff_t count;
    const struct stage *stages;
    int buffers;
    const ptrdiff_t *offsets; /* of each buffer in the workspace */
    ptrdiff_t scratch;        /* floats that each thread has of its own, whole cache lines */
    ptrdiff_t private;        /* of them, where its arrays begin */
};

/* A thread's time for an operation. */
struct span {
    double begin, end; /* seconds, of a clock that seconds_now() reads */
    int label, layer;
};

/* Some inputs on their way through a program. */
struct pass {
    const struct program *program;
    struct progress_list stages;
    int inputs;
    const void *input[MAX_INPUTS];
    float *out;                      /* `out_stride` floats for each input */
    ptrdiff_t out_stride;
    float *state;                    /* which the pass goes on from, or NULL */
    float *workspace, *scratch;
    struct span *spans;              /* `capacity` for each thread, or NULL */
    ptrdiff_t capacity;
    double begin;
};

/* Deals out the stages of a pass, in the order in which its threads go through them. */
static void deal_pass(struct pass *pass)
{
    const struct program *program = pass->program;
    ptrdiff_t next = 0;
    for (int i = 0; i < pass->inputs; i++)
        for (ptrdiff_t s = 0; s < program->count; s++, next++)
            deal_stage(&pass->stages, next, program->stages[s].length, program->stages[s].grain);
}

#endif
