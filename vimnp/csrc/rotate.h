/* Rotary position embedding.
 *
 * Included once for each instruction set by kernels.h.
 */

/* These tokens, in place. */
static void FN(rotate_tokens)(const struct rotate_operation *r, float *tokens, struct extent rows)
{
    for (ptrdiff_t t = rows.begin; t < rows.end; t++) {
        float *token = tokens + t * r->tokens.stride;
        const float *cos = r->cos + t * r->channels, *sin = r->sin + t * r->channels;
        for (ptrdiff_t c = 0; c < r->channels; c += 2) {
            const float first = token[c], second = token[c + 1];
            token[c] = first * cos[c] + second * sin[c];
            token[c + 1] = second * cos[c + 1] + first * sin[c + 1];
        }
    }
}
