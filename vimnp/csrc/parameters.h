/* The network as the compiled pass reads it: parameters (vimnp/parameters.py has the same, by the same
 * names) and workspace. L tokens, M patches, E embed_dim, Dn d_inner, N d_state, R dt_rank, K d_conv.
 */
#ifndef VIMNP_PARAMETERS_H
#define VIMNP_PARAMETERS_H

#include <stddef.h>

#include "stages.h"
#include "operands.h"

#define IMAGE_CHANNELS 3
/* Images that share a parallel region. */
#define MAX_IMAGES 8
/* Patches that a thread gathers from the picture before it multiplies them: whole tiles of rows. */
#define PATCHES 60

struct norm {
    const float *weight, *bias; /* (E,); bias may be NULL */
    float epsilon;
};

/* What one direction of a mixer has of its own. */
struct direction {
    const float *conv_weight, *conv_bias; /* (K, Dn), (Dn,) */
    struct matrix x_proj, dt_proj;        /* (Dn, R + 2N), (R, Dn) */
    const float *dt_bias, *A, *D;         /* (Dn,), (N, Dn), (Dn,) */
};

struct layer {
    struct norm norm;
    struct matrix in_proj, out_proj; /* (E, 2 Dn), (Dn, E) */
    struct direction directions[2]; /* forward, and backward if there are two */
    int is_flipped;                 /* it reads the sequence backwards */
};

/* What the head makes of the tokens that it reads. */
enum pooling {
    POOL_MEAN, /* it reads the mean of the pooled tokens */
    POOL_MAX,  /* it reads every token: the largest logit of each class */
    POOL_ALL   /* it reads every token: logits for each */
};

struct network {
    ptrdiff_t height, width, columns, patch_size, stride; /* pixels; `columns` patches lie in a row */
    ptrdiff_t length, embed_dim, d_inner, dt_rank, classes;
    int d_state, d_conv, depth, layers_in_block; /* which read the same tokens: 1, or 2 */
    int directions, computed;                    /* scans of a mixer; those with parameters of their own */
    float scale;                                 /* of the sum of the directions */
    int flips_sequence;                          /* which is then the reverse of the picture's order */
    int number_of_class_tokens, number_of_pooled_tokens; /* 0: none; all */
    ptrdiff_t class_tokens[2], pooled_tokens[2]; /* in the picture's order; in the sequence's */
    enum pooling pooling;
    struct matrix patch_proj, head;        /* (3 * patch_size^2, E), (E, classes) */
    const float *token_offset, *head_bias; /* (L, E), (classes,) */
    const float *cos, *sin;                /* (L, E): of each block's input; NULL: no rotation */
    int rope_residual;                     /* whether the residual is rotated as well */
    struct norm norm_f;
    const struct layer *layers;
};

/* The arrays that a pass writes. */
struct workspace {
    float *patches;           /* (PATCHES, 3 * patch_size^2) for each thread */
    float *residual, *normed[2]; /* (L, E); a norm for each layer of a block */
    float *xz;                /* (L, 2 Dn): x and z; the scan's y takes x's place */
    float *u[2];              /* (L, Dn) */
    float *delta;             /* (RUN, Dn) for each thread */
    float *x_dbl[2];          /* (L, R + 2N): dt, B and C */
    float *features;          /* (E,) */
    float *token_logits;      /* (L, classes) where the largest are asked for */
    float *stages;            /* struct stage: those of MAX_IMAGES */
};

/* Embedding, four a layer, pool and head. */
static ptrdiff_t stages_of_image(const struct network *n)
{
    return 1 + 4 * n->depth + 2;
}

/* Lays the arrays out in `memory`, each from a cache line on; returns how many floats they take. */
static ptrdiff_t lay_out(
    const struct network *n, int num_threads, float *memory, struct workspace *w)
{
    const ptrdiff_t x_dbl = n->length * (n->dt_rank + 2 * n->d_state);
    const ptrdiff_t stage_floats = (ptrdiff_t)(stage_size(num_threads) / sizeof(float));
    const struct {
        float **array;
        ptrdiff_t size;
    } arrays[] = {
        {&w->patches, num_threads * PATCHES * n->patch_proj.inputs},
        {&w->residual, n->length * n->embed_dim},
        {&w->normed[0], n->length * n->embed_dim},
        {&w->normed[1], n->layers_in_block > 1 ? n->length * n->embed_dim : 0},
        {&w->xz, n->length * 2 * n->d_inner},
        {&w->u[0], n->length * n->d_inner},
        {&w->u[1], n->computed > 1 ? n->length * n->d_inner : 0},
        {&w->delta, num_threads * RUN * n->d_inner},
        {&w->x_dbl[0], x_dbl},
        {&w->x_dbl[1], n->computed > 1 ? x_dbl : 0},
        {&w->features, n->embed_dim},
        {&w->token_logits, n->pooling == POOL_MAX ? n->length * n->classes : 0},
        {&w->stages, MAX_IMAGES * stages_of_image(n) * stage_floats},
    };
    ptrdiff_t used = 0;
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        if (memory)
            *arrays[i].array = memory + used;
        used += (arrays[i].size + LINE - 1) / LINE * LINE;
    }
    return used;
}

/* The steps that a pass is timed by. */
enum step {
    STEP_EMBED, STEP_NORM, STEP_IN_PROJ, STEP_CONV1D, STEP_X_PROJ, STEP_SCAN,
    STEP_OUT_PROJ, STEP_POOL, STEP_HEAD, STEP_WAIT, STEPS
};

/* A thread's time for a step of a layer. */
struct span {
    double begin, end; /* seconds, of a clock that seconds_now() reads */
    int step, layer;   /* BETWEEN_LAYERS before the first layer and after the last */
};
#define BETWEEN_LAYERS (-1)

/* What is asked for of an image. */
enum output {
    OUTPUT_LOGITS,   /* (classes,), or (L, classes) if the head reads every token */
    OUTPUT_FEATURES, /* what the head reads: (E,), or (L, E) */
    OUTPUT_TOKENS    /* after the last norm, (L, E) */
};

/* Some images on their way through the network. */
struct pass {
    const struct network *network;
    struct workspace workspace;
    struct stages stages;
    int images;
    const float *pixels[MAX_IMAGES]; /* (3, height, width) each */
    enum output output;
    float *out;                      /* `out_step` floats for each image */
    ptrdiff_t out_step;
    struct span *spans;              /* `capacity` for each thread, or NULL */
    ptrdiff_t capacity;
    double begin;
};

/* The stages of a pass, in the order in which network.h goes through them. */
static void deal_stages(struct pass *p, int num_threads, ptrdiff_t width, ptrdiff_t rows)
{
    const struct network *n = p->network;
    const struct stages *s = &p->stages;
    p->stages = (struct stages){(char *)p->workspace.stages, stage_size(num_threads), num_threads};
    ptrdiff_t i = 0;
    for (int image = 0; image < p->images; image++) {
        deal_stage(s, i++, n->length, rows); /* embed */
        for (int layer = 0; layer < n->depth; layer++) {
            deal_stage(s, i++, n->d_inner, width); /* in_proj, causal_conv1d */
            deal_stage(s, i++, n->length, rows);   /* x_proj */
            deal_stage(s, i++, n->d_inner, width); /* scan */
            deal_stage(s, i++, n->length, rows);   /* out_proj, norm */
        }
        deal_stage(s, i++, 1, 1); /* pool */
        deal_stage(s, i++, p->output == OUTPUT_LOGITS ? n->classes : 0, width);
    }
}

#endif
