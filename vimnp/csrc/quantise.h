/* Rows of x as whole numbers of 8 bits, with a scale for each SHARED of them: the other side of a product
 * with a matrix that is stored so.
 *
 * Included once for each instruction set by kernels.h. All sets make the same numbers.
 */

/* Below it, what lies in a block counts as zero: 127 over the largest number would overflow. */
#undef LEAST
#define LEAST 0x1p-100f

/* Rounds x / scale. What is not finite makes the scale NaN, and so every sum that it is in. */
static void FN(quantise_block)(const float *x, struct quantised *to)
{
    FN(ints) largest = FN(set1_int)(0);
    for (int i = 0; i < SHARED; i += W)
        largest = FN(larger_int)(largest, FN(size_bits)(FN(load)(x + i, W)));
    int32_t parts[SHARED], bits = 0;
    memcpy(parts, &largest, sizeof largest);
    for (int i = 0; i < W; i++)
        bits = parts[i] > bits ? parts[i] : bits;
    float most;
    memcpy(&most, &bits, sizeof most);
    memset(to, 0, sizeof *to);
    if (most < LEAST)
        return;
    if (bits >= 0x7f800000) {
        to->scale = NAN;
        return;
    }
    to->scale = most / 127.0f;
    const FN(vec) inverse = FN(set1)(127.0f / most);
    for (int i = 0; i < SHARED; i += W) {
        const FN(ints) whole = FN(to_int)(FN(load)(x + i, W) * inverse);
        memcpy(parts + i, &whole, sizeof whole);
    }
    int32_t sum = 0;
    for (int i = 0; i < SHARED; i++) {
        to->q[i] = (int8_t)parts[i];
        sum += parts[i];
    }
    to->sum = sum;
}

/* These rows, each in whole blocks: zeros fill the last one. */
static void FN(quantise_rows)(const struct product *p, struct extent rows, struct quantised *to)
{
    const ptrdiff_t inputs = p->weights.inputs, whole = inputs / SHARED * SHARED;
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        const float *x = p->x + row * p->x_stride;
        for (ptrdiff_t k = 0; k < whole; k += SHARED)
            FN(quantise_block)(x + k, to++);
        if (whole < inputs) {
            float last[SHARED] = {0};
            memcpy(last, x + whole, sizeof(float) * (size_t)(inputs - whole));
            FN(quantise_block)(last, to++);
        }
    }
}
