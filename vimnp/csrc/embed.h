/* Patch embedding: a picture's patches, each multiplied to a token.
 *
 * Included once for each instruction set by kernels.h.
 */

static void FN(gather_patch)(
    const struct embed_operation *e, const float *pixels, ptrdiff_t number, float *patch)
{
    const ptrdiff_t top = number / e->columns * e->stride, left = number % e->columns * e->stride;
    for (ptrdiff_t c = 0; c < e->channels; c++)
        for (ptrdiff_t y = top; y < top + e->patch_height; y++, patch += e->patch_width)
            memcpy(patch, pixels + (c * e->height + y) * e->width + left,
                   sizeof(float) * (size_t)e->patch_width);
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
        const float *offset = e->offset + first * outputs;
        float *token = out + first * e->out.stride;
        const struct product p = {
            .weights = e->patch_proj, .x = patches, .addend = offset, .out = token,
            .x_stride = inputs, .addend_stride = outputs, .out_stride = e->out.stride,
            .scratch = patches + PATCHES * inputs};
        FN(product)(&p, (struct extent){0, number}, (struct extent){0, outputs});
        if (number == 0)
            memcpy(token, offset, sizeof(float) * (size_t)outputs);
        first += number ? number : 1;
    }
}
