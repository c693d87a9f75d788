/* Patch embedding: a picture's patches, each multiplied to a token.
 *
 * Included once for each instruction set by kernels.h.
 */

/* Pixels beside each other, from (y, left) on; around the picture there are zeros. */
INLINE void FN(copy_pixels)(
    const struct embed_operation *e, const float *of_channel, ptrdiff_t y, ptrdiff_t left, float *to)
{
    const struct extent columns = {left, left + e->patch_width};
    const struct extent within = common(columns, (struct extent){0, 0 <= y && y < e->height ? e->width : 0});
    if (within.end - within.begin < e->patch_width)
        memset(to, 0, sizeof(float) * (size_t)e->patch_width);
    if (within.begin < within.end)
        memcpy(to + (within.begin - left), of_channel + y * e->width + within.begin,
               sizeof(float) * (size_t)(within.end - within.begin));
}

static void FN(gather_patch)(
    const struct embed_operation *e, const float *pixels, ptrdiff_t number, float *patch)
{
    const ptrdiff_t top = number / e->columns * e->stride - e->padding;
    const ptrdiff_t left = number % e->columns * e->stride - e->padding;
    for (ptrdiff_t c = 0; c < e->channels; c++)
        for (ptrdiff_t y = top; y < top + e->patch_height; y++, patch += e->patch_width)
            FN(copy_pixels)(e, pixels + c * e->height * e->width, y, left, patch);
}

/* Gathers the patches of the tokens from `first` on, up to one that has none; their number. */
static int FN(gather_patches)(
    const struct embed_operation *e, const float *pixels, ptrdiff_t first, ptrdiff_t end,
    float *patches)
{
    int number = 0;
    for (; number < PATCHES && first + number < end && e->patches[first + number] >= 0; number++)
        FN(gather_patch)(
            e, pixels, e->patches[first + number], patches + number * e->patch_proj.inputs);
    return number;
}

/* These tokens, of which class tokens have no patch. */
static void FN(embed_tokens)(
    const struct embed_operation *e, const float *pixels, float *out, float *patches,
    struct extent tokens)
{
    const ptrdiff_t inputs = e->patch_proj.inputs, outputs = e->patch_proj.outputs;
    for (ptrdiff_t first = tokens.begin; first < tokens.end;) {
        const int number = FN(gather_patches)(e, pixels, first, tokens.end, patches);
        const float *offset = e->offset + first * e->offset_stride;
        float *token = out + first * e->out.stride;
        const struct product p = {
            .weights = e->patch_proj, .x = patches, .addend = offset, .out = token,
            .x_stride = inputs, .addend_stride = e->offset_stride, .out_stride = e->out.stride,
            .scratch = patches + PATCHES * inputs};
        FN(product)(&p, (struct extent){0, number}, (struct extent){0, outputs});
        if (number == 0)
            memcpy(token, offset, sizeof(float) * (size_t)outputs);
        first += number ? number : 1;
    }
}
