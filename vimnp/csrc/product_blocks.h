/* Product with a matrix of int8 or int4: whole numbers in blocks of SHARED inputs, with scales.
 *
 * Included once for each instruction set by kernels.h; vimnp/weights/encodings.py defines the panels.
 * Rows of x are made whole numbers, too. The sum of a block is exact, whatever the order; to a sum of
 * floats the blocks are added in order, as the inputs are in other products.
 */

#undef TALL
#undef WIDE
#undef HAS_DOTS
/* Rows of a tile, and vectors of outputs: as many sums as fit the registers. */
#if ISA == ISA_AVX512
#define TALL 8
#define WIDE 1
#define HAS_DOTS 1
#elif ISA == ISA_AVX2
#define TALL 6
#define WIDE 1
#define HAS_DOTS VIMNP_AVX_VNNI
#elif ISA == ISA_NEON
#define TALL 4
#define WIDE 2
#define HAS_DOTS 1
#elif ISA == ISA_SSE2
#define TALL 2
#define WIDE 2
#define HAS_DOTS 0
#else
#define TALL 2
#define WIDE 4
#define HAS_DOTS 0
#endif

#include "quantise.h"
#include "block_sums.h"

/* Rows from `row` on, of which `left` are there, and `vectors` of a panel from `column` on. `x` has the
 * quantised rows. */
INLINE void FN(blocks_tile)(
    const struct product *p, const void *x, ptrdiff_t row, ptrdiff_t left, ptrdiff_t column,
    enum dtype dtype, int dots, const int rows, const int vectors)
{
    const ptrdiff_t blocks = (p->weights.inputs + SHARED - 1) / SHARED;
    const ptrdiff_t size = SHARED * SMALL_PANEL / (dtype == DTYPE_INT8 ? 1 : 2);
    const ptrdiff_t before = column / SMALL_PANEL * blocks, lane = column % SMALL_PANEL;
    const uint8_t *codes = (const uint8_t *)p->weights.codes + before * size + lane * 4;
    const uint16_t *scales = p->weights.scales + before * SMALL_PANEL + lane;
    const struct quantised *of_row[TALL];
    FN(vec) sums[TALL][VECTORS];
    UNROLL
    for (int r = 0; r < rows; r++) {
        of_row[r] = FN(row_of)(x, r < left ? r : left - 1, blocks, SPLITS(dtype, dots));
        UNROLL
        for (int v = 0; v < vectors; v++)
            sums[r][v] = FN(set1)(0.0f);
    }
    for (ptrdiff_t b = 0; b < blocks; b++, codes += size, scales += SMALL_PANEL) {
        FN(ints) whole[TALL][VECTORS];
        UNROLL
        for (int line = 0; line < size; line += 64)
            prefetch((const char *)codes + line + AHEAD);
        FN(block_sums)(codes, of_row, b, blocks, dtype, dots, rows, vectors, whole);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const FN(vec) scale = FN(widen)(scales + v * W);
            UNROLL
            for (int r = 0; r < rows; r++)
                sums[r][v] = FN(fma)(
                    FN(to_float)(whole[r][v]), scale * FN(set1)(of_row[r][b].scale), sums[r][v]);
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

/* A tile's rows, and some columns of a panel. */
INLINE void FN(blocks_columns)(
    const struct product *p, const void *x, ptrdiff_t row, ptrdiff_t left,
    struct extent columns, enum dtype dtype, int dots, const int rows, const int vectors)
{
    ptrdiff_t column = columns.begin;
    for (; columns.end - column > (vectors - 1) * W; column += vectors * W)
        FN(blocks_tile)(p, x, row, left, column, dtype, dots, rows, vectors);
    if (vectors > 1)
        for (; column < columns.end; column += W)
            FN(blocks_tile)(p, x, row, left, column, dtype, dots, rows, 1);
}

/* Rows that are quantised, and some columns of a panel. */
INLINE void FN(blocks_panel)(
    const struct product *p, const char *x, struct extent rows, struct extent columns,
    enum dtype dtype, int dots)
{
    const ptrdiff_t blocks = (p->weights.inputs + SHARED - 1) / SHARED;
    const ptrdiff_t tile = TALL * FN(row_size)(blocks, SPLITS(dtype, dots));
    for (ptrdiff_t row = rows.begin; row < rows.end; row += TALL, x += tile) {
        const ptrdiff_t left = rows.end - row;
        if (left == 1)
            FN(blocks_columns)(p, x, row, left, columns, dtype, dots, 1, VECTORS < 4 ? VECTORS : 4);
        else if (left == 2)
            FN(blocks_columns)(p, x, row, left, columns, dtype, dots, 2, VECTORS < 2 ? 1 : 2);
        else if (left <= 4)
            FN(blocks_columns)(p, x, row, left, columns, dtype, dots, TALL < 4 ? TALL : 4, WIDE);
        else
            FN(blocks_columns)(p, x, row, left, columns, dtype, dots, TALL, WIDE);
    }
}

INLINE void FN(product_blocks)(
    const struct product *p, struct extent rows, struct extent columns, enum dtype dtype, int dots)
{
    char *x = (char *)p->scratch;
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        FN(fill_scratch)(p, block, SPLITS(dtype, dots));
        for (ptrdiff_t column = columns.begin; column < columns.end;) {
            const ptrdiff_t end = (column / SMALL_PANEL + 1) * SMALL_PANEL;
            const struct extent some = common(columns, (struct extent){column, end});
            FN(blocks_panel)(p, x, block, some, dtype, dots);
            column = end;
        }
    }
}

#if HAS_DOTS
WITH_DOTS static void FN(product_int8_dots)(
    const struct product *p, struct extent rows, struct extent columns)
{
    FN(product_blocks)(p, rows, columns, DTYPE_INT8, 1);
}

WITH_DOTS static void FN(product_int4_dots)(
    const struct product *p, struct extent rows, struct extent columns)
{
    FN(product_blocks)(p, rows, columns, DTYPE_INT4, 1);
}
#endif

static void FN(product_int8)(const struct product *p, struct extent rows, struct extent columns)
{
#if HAS_DOTS
    if (p->weights.dots) {
        FN(product_int8_dots)(p, rows, columns);
        return;
    }
#endif
    FN(product_blocks)(p, rows, columns, DTYPE_INT8, 0);
}

static void FN(product_int4)(const struct product *p, struct extent rows, struct extent columns)
{
#if HAS_DOTS
    if (p->weights.dots) {
        FN(product_int4_dots)(p, rows, columns);
        return;
    }
#endif
    FN(product_blocks)(p, rows, columns, DTYPE_INT4, 0);
}
