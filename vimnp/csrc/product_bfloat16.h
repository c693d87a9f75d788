/* Product with a matrix of bfloat16: weights are widened as they are loaded, and all else is float32.
 *
 * Included once for each instruction set by kernels.h; vimnp/weights/encodings.py defines the panels.
 */

/* Outputs of a single row, in as many sums as keep the units busy: each waits for its last addition. */
#undef ALONE
#define ALONE 4
/* Rows of a tile. */
#undef BFLOAT16_ROWS
#if ISA == ISA_AVX512
#define BFLOAT16_ROWS 4 /* with more, gcc keeps some sums in memory */
#else
#define BFLOAT16_ROWS ROWS
#endif

/* The first input of a pair, or the second: one after the other, as there are no registers for both. */
INLINE void FN(bfloat16_inputs)(
    const float *const *x, const uint16_t *const *from, ptrdiff_t k, const int second, const int rows,
    const int vectors, FN(vec) sums[][ALONE])
{
    FN(vec) weights[ALONE];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const uint16_t *pairs = from[v] + k * SMALL_PANEL;
        if (rows > 1)
            READ_AFTER(pairs, sums[rows - 1][v]); /* and not for both at once */
        weights[v] = FN(widen_pairs)(pairs, second);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        const FN(vec) input = FN(set1)(x[r][k + second]);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = FN(fma)(input, weights[v], sums[r][v]);
            if (rows > 1)
                SETTLE(sums[r][v]);
        }
    }
}

/* As FN(product_tile): `vectors` of outputs from `column` on. */
INLINE void FN(bfloat16_tile)(
    const struct product *p, ptrdiff_t column, ptrdiff_t row, ptrdiff_t left, const int rows,
    const int vectors)
{
    const ptrdiff_t inputs = p->weights.inputs, panel = (inputs + 1) / 2 * 2 * SMALL_PANEL;
    const uint16_t *from[ALONE];
    const float *x[BFLOAT16_ROWS];
    FN(vec) sums[BFLOAT16_ROWS][ALONE];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t output = column + v * W;
        from[v] = (const uint16_t *)p->weights.codes + output / SMALL_PANEL * panel +
                  output % SMALL_PANEL * 2;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        x[r] = p->x + (row + (r < left ? r : left - 1)) * p->x_stride;
        UNROLL
        for (int v = 0; v < vectors; v++)
            sums[r][v] = FN(set1)(0.0f);
    }
    for (ptrdiff_t k = 0; k < inputs / 2 * 2; k += 2) {
        if (rows == 1) {
            UNROLL
            for (int v = 0; v < vectors; v += VECTORS)
                prefetch((const char *)(from[v] + k * SMALL_PANEL) + AHEAD);
        }
        FN(bfloat16_inputs)(x, from, k, 0, rows, vectors, sums);
        FN(bfloat16_inputs)(x, from, k, 1, rows, vectors, sums);
    }
    if (inputs % 2)
        FN(bfloat16_inputs)(x, from, inputs - 1, 0, rows, vectors, sums);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= left)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++)
            FN(store_sums)(p, row + r, column + v * W, sums[r][v]);
    }
}

/* Rows as of a tile, and any columns: tiles of so many vectors, and of one at the end. */
INLINE void FN(bfloat16_columns)(
    const struct product *p, ptrdiff_t row, ptrdiff_t left, struct extent columns, const int rows,
    const int vectors)
{
    ptrdiff_t column = columns.begin;
    for (; columns.end - column > (vectors - 1) * W; column += vectors * W)
        FN(bfloat16_tile)(p, column, row, left, rows, vectors);
    for (; column < columns.end; column += W)
        FN(bfloat16_tile)(p, column, row, left, rows, 1);
}

/* Each by itself: of all together gcc keeps some sums in memory. */
NOINLINE void FN(bfloat16_alone)(const struct product *p, ptrdiff_t row, ptrdiff_t left, struct extent columns)
{
    FN(bfloat16_columns)(p, row, left, columns, 1, ALONE);
}

NOINLINE void FN(bfloat16_some)(const struct product *p, ptrdiff_t row, ptrdiff_t left, struct extent columns)
{
    FN(bfloat16_columns)(p, row, left, columns, BFLOAT16_ROWS / 2, PANEL);
}

NOINLINE void FN(bfloat16_many)(const struct product *p, ptrdiff_t row, ptrdiff_t left, struct extent columns)
{
    FN(bfloat16_columns)(p, row, left, columns, BFLOAT16_ROWS, PANEL);
}

static void FN(product_bfloat16)(const struct product *p, struct extent rows, struct extent columns)
{
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        if (block.end - block.begin == 1) {
            FN(bfloat16_alone)(p, first, 1, columns);
            continue;
        }
        for (ptrdiff_t column = columns.begin; column < columns.end; column += PANEL * W) {
            const struct extent some = common(columns, (struct extent){column, column + PANEL * W});
            for (ptrdiff_t row = block.begin; row < block.end; row += BFLOAT16_ROWS) {
                if (block.end - row <= BFLOAT16_ROWS / 2)
                    FN(bfloat16_some)(p, row, block.end - row, some);
                else
                    FN(bfloat16_many)(p, row, block.end - row, some);
            }
        }
    }
}
