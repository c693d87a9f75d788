/* What is made of the rows of an array: their mean, the largest of each column, copies, or sums.
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

/* out += x, whose channels are `count` groups: the first channel of each group, then the second of each. */
static void FN(add_rows)(
    const struct reduction_operation *r, const float *x, float *out, struct extent rows)
{
    const ptrdiff_t groups = r->count, length = r->channels / groups;
    for (ptrdiff_t i = rows.begin; i < rows.end; i++) {
        const float *from = x + i * r->x.stride;
        float *to = out + i * r->out.stride;
        if (groups == 1)
            for (ptrdiff_t c = 0; c < length; c++)
                to[c] += from[c];
        else
            for (ptrdiff_t c = 0; c < length; c++)
                for (ptrdiff_t group = 0; group < groups; group++)
                    to[c * groups + group] += from[group * length + c];
    }
}
