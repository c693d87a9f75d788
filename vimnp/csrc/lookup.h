/* Embedding lookup: tokens by their ids.
 *
 * Included once for each instruction set by kernels.h. The table is a matrix (inputs, outputs) as products
 * read it, because the same matrix multiplies as the head where the two are tied. An embedding is one of its
 * columns, so its numbers lie a panel's width apart: of a pass that reads every matrix, a small part.
 */

static void FN(lookup_rows)(
    const struct matrix *table, const int *ids, float *out, ptrdiff_t out_stride, struct extent rows)
{
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        const struct FN(panel) panel = FN(panel_at)(table, ids[row], (ptrdiff_t)ids[row] + 1);
        for (ptrdiff_t k = 0; k < table->inputs; k++)
            out[row * out_stride + k] = panel.from[k * panel.stride];
    }
}
