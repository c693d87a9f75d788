/* Patches of a grid of tokens, gathered to rows; and dense convolution, which is a product with them.
 *
 * Included once for each instruction set by kernels.h.
 */

/* A tap's token, or zeros where the tap lies outside the grid. */
INLINE void FN(copy_tap)(
    const struct token_patches *p, const float *x, ptrdiff_t line, ptrdiff_t column, float *to)
{
    const size_t size = sizeof(float) * (size_t)p->channels;
    if (0 <= line && line < p->height && 0 <= column && column < p->width)
        memcpy(to, x + (line * p->width + column) * p->x.stride, size);
    else
        memset(to, 0, size);
}

/* Patch `number`, counted from left to right and top to bottom. */
static void FN(gather_tokens)(
    const struct token_patches *p, const float *x, ptrdiff_t number, float *patch)
{
    const ptrdiff_t top = number / p->columns * p->stride - p->padding;
    const ptrdiff_t left = number % p->columns * p->stride - p->padding;
    const ptrdiff_t taps = p->kernel_height * p->kernel_width;
    for (ptrdiff_t tap = 0; tap < taps; tap++, patch += p->channels) {
        const ptrdiff_t i = p->columns_first ? tap % p->kernel_height : tap / p->kernel_width;
        const ptrdiff_t j = p->columns_first ? tap / p->kernel_height : tap % p->kernel_width;
        FN(copy_tap)(p, x, top + i, left + j, patch);
    }
}

/* These rows of `out`. */
static void FN(gather_rows)(
    const struct token_patches *p, const float *x, float *out, ptrdiff_t out_stride, struct extent rows)
{
    for (ptrdiff_t row = rows.begin; row < rows.end; row++)
        FN(gather_tokens)(p, x, row, out + row * out_stride);
}

/* The same rows, multiplied: out = patches @ weights + bias. The patches of some rows at a time are
 * gathered in `room`. */
static void FN(convolve_rows)(
    const struct conv_operation *c, const float *x, float *out, float *room, struct extent rows)
{
    const ptrdiff_t inputs = c->weights.inputs;
    for (ptrdiff_t first = rows.begin; first < rows.end; first += PATCHES) {
        const struct extent some = common(rows, (struct extent){first, first + PATCHES});
        const struct product p = {
            .weights = c->weights, .x = room, .bias = c->bias, .out = out + first * c->out.stride,
            .x_stride = inputs, .out_stride = c->out.stride, .activation = c->activation,
            .scratch = room + PATCHES * inputs};
        for (ptrdiff_t row = some.begin; row < some.end; row++)
            FN(gather_tokens)(&c->patches, x, row, room + (row - first) * inputs);
        FN(product)(&p, (struct extent){0, some.end - first}, (struct extent){0, c->weights.outputs});
    }
}
