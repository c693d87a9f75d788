/* Product with a matrix of bfloat16: weights are widened as they are loaded, and all else is float32.
 *
 * Included once for each instruction set by kernels.h; vimnp/weights/encodings.py defines the panels.
 */

/* Outputs of a single row, in as many sums as keep the units busy: each waits for its last addition. */
#undef ALONE
#define ALONE 4

/* As FN(product_tile): `vectors` of outputs from `column` on. */
INLINE void FN(bfloat16_tile)(
    const struct product *p, ptrdiff_t column, ptrdiff_t row, ptrdiff_t left, const int rows,
    const int vectors)
{
    const ptrdiff_t inputs = p->weights.inputs, panel = (inputs + 1) / 2 * 2 * SMALL_PANEL;
    const uint16_t *from[ALONE];
    const float *x[ROWS];
    FN(vec) sums[ROWS][ALONE], first[ALONE], second[ALONE];
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
    for (ptrdiff_t k = 0; k < inputs; k += 2) {
        const int both = k + 1 < inputs;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const uint16_t *pairs = from[v] + k * SMALL_PANEL;
            FN(widen_pairs)(pairs, &first[v], &second[v]);
            if (rows == 1 && v % VECTORS == 0)
                FN(prefetch)(pairs);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(vec) input = FN(set1)(x[r][k]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = FN(fma)(input, first[v], sums[r][v]);
        }
        if (!both)
            break;
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(vec) input = FN(set1)(x[r][k + 1]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = FN(fma)(input, second[v], sums[r][v]);
        }
    }
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

static void FN(product_bfloat16)(const struct product *p, struct extent rows, struct extent columns)
{
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        if (block.end - block.begin == 1) {
            FN(bfloat16_columns)(p, first, 1, columns, 1, ALONE);
            continue;
        }
        for (ptrdiff_t column = columns.begin; column < columns.end; column += PANEL * W) {
            const struct extent some = common(columns, (struct extent){column, column + PANEL * W});
            for (ptrdiff_t row = block.begin; row < block.end; row += ROWS) {
                if (block.end - row <= ROWS / 2)
                    FN(bfloat16_columns)(p, row, block.end - row, some, ROWS / 2, PANEL);
                else
                    FN(bfloat16_columns)(p, row, block.end - row, some, ROWS, PANEL);
            }
        }
    }
}
