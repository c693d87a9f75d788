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

/* Whether a number is kept as q + 16 high, each of them -8 to 8: bytes of weights times such halves can be
 * added up in 16 bits. Those of a row stand behind its blocks. */
#undef SPLITS
#define SPLITS(dtype, dots) ((ISA == ISA_AVX2 || ISA == ISA_AVX512) && (dtype) == DTYPE_INT8 && !(dots))

/* From a row's blocks to the next row's. */
INLINE ptrdiff_t FN(row_size)(ptrdiff_t blocks, const int splits)
{
    return blocks * (ptrdiff_t)(sizeof(struct quantised) + (splits ? SHARED : 0));
}

INLINE const struct quantised *FN(row_of)(const void *rows, ptrdiff_t row, ptrdiff_t blocks, const int splits)
{
    return (const struct quantised *)((const char *)rows + row * FN(row_size)(blocks, splits));
}

INLINE const int8_t *FN(high_of)(const struct quantised *row, ptrdiff_t blocks, ptrdiff_t block)
{
    return (const int8_t *)(row + blocks) + SHARED * block;
}

static void FN(split_block)(struct quantised *block, int8_t *high)
{
    for (int i = 0; i < SHARED; i++) {
        const int q = block->q[i], low = ((q + 8) & 15) - 8;
        block->q[i] = (int8_t)low;
        high[i] = (int8_t)((q - low) / 16);
    }
}

/* A row in whole blocks: zeros fill the last one. */
static void FN(quantise_row)(const float *x, ptrdiff_t inputs, struct quantised *to)
{
    const ptrdiff_t whole = inputs / SHARED * SHARED;
    for (ptrdiff_t k = 0; k < whole; k += SHARED)
        FN(quantise_block)(x + k, to++);
    if (whole < inputs) {
        float last[SHARED] = {0};
        memcpy(last, x + whole, sizeof(float) * (size_t)(inputs - whole));
        FN(quantise_block)(last, to);
    }
}

INLINE void FN(quantise_rows)(const struct product *p, struct extent rows, const int splits)
{
    const ptrdiff_t blocks = (p->weights.inputs + SHARED - 1) / SHARED;
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        struct quantised *x = (struct quantised *)FN(row_of)(p->scratch, row - rows.begin, blocks, splits);
        FN(quantise_row)(p->x + row * p->x_stride, p->weights.inputs, x);
        for (ptrdiff_t b = 0; splits && b < blocks; b++)
            FN(split_block)(x + b, (int8_t *)FN(high_of)(x, blocks, b));
    }
}

/* These rows into the scratch, unless it holds them. */
INLINE void FN(fill_scratch)(const struct product *p, struct extent rows, const int splits)
{
    const struct kept_rows wanted = {p->x, rows, p->weights.inputs, splits}, *kept = p->kept;
    if (kept && kept->x == wanted.x && kept->rows.begin == rows.begin && kept->rows.end == rows.end &&
        kept->inputs == wanted.inputs && kept->halves == wanted.halves)
        return;
    FN(quantise_rows)(p, rows, splits);
    if (kept)
        *p->kept = wanted;
}
