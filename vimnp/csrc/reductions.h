/* What is made of the rows of an array: their mean, the largest of each column, or copies.
 *
 * Included once for each instruction set by kernels.h.
 */

static void FN(mean_of_rows)(
    const struct reduction_operation *r, const float *x, float *out)
{
    for (ptrdiff_t c = 0; c < r->channels; c += W) {
        const int lanes = FN(lanes_from)(c, r->channels);
        FN(vec) sum = FN(set1)(0.0f);
        for (ptrdiff_t i = 0; i < r->count; i++)
            sum += FN(load)(x + i * r->x.stride + c, lanes);
        FN(store)(out + c, sum / (float)r->count, lanes);
    }
}

/* Of these columns the largest number each, NaN if one is. */
static void FN(largest_of_rows)(
    const struct reduction_operation *r, const float *x, float *out, struct extent columns)
{
    for (ptrdiff_t i = 0; i < r->count; i++)
        for (ptrdiff_t c = columns.begin; c < columns.end; c++) {
            const float value = x[i * r->x.stride + c];
            if (i == 0 || value > out[c] || value != value)
                out[c] = value;
        }
}

static void FN(copy_rows)(
    const struct reduction_operation *r, const float *x, float *out, struct extent rows)
{
    for (ptrdiff_t i = rows.begin; i < rows.end; i++)
        memcpy(out + i * r->out.stride, x + i * r->x.stride, sizeof(float) * (size_t)r->channels);
}
