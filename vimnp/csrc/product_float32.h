/* Product with a packed matrix of float32: rows of tokens, in vectors of outputs.
 *
 * Included once for each instruction set by kernels.h. A matrix (inputs, outputs) is packed when a
 * model is made (engine/packing.py) into panels of PANEL vectors of outputs. A panel holds its rows one
 * after the other; the last one is narrower, and padded with zeros to whole vectors. A tile of ROWS x
 * PANEL sums stays in registers on its way down a panel (Goto & van de Geijn 2008). A sum takes its
 * inputs in order, in whatever tile it is, so its bits do not depend on how a product is split.
 */

#undef ROWS
#undef PANEL
/* As many sums as fit the registers beside a row of the panel and the numbers of x. */
#if ISA == ISA_AVX512
#define ROWS 6
#define PANEL 4
#elif ISA == ISA_AVX2
#define ROWS 6
#define PANEL 2
#elif ISA == ISA_NEON
#define ROWS 5 /* with 6, gcc keeps two sums in memory */
#define PANEL 4
#else
#define ROWS 4
#define PANEL 2
#endif

#undef PANEL_BYTES
#define PANEL_BYTES (PANEL * W * (int)sizeof(float))

/* The part of a panel that is asked for. */
struct FN(panel) {
    const float *from;
    ptrdiff_t stride, column; /* floats from one input to the next; where `from` stands in the matrix */
    int vectors, lanes;     /* `lanes` outputs are in the last vector */
};

/* In a function of its own, so that it is compiled once, for tiles of all sizes. */
NOINLINE void FN(activate_tile)(FN(vec) *values, int number, enum activation activation)
{
    FN(vec) room[ROWS * PANEL];
    if (activation == ACTIVATION_GELU)
        FN(gelu)(values, room, number);
    else
        FN(relu)(values, number);
}

/* Rows from `row` on, of which `left` are there: those beyond repeat the last one, and are not stored. */
INLINE void FN(product_tile)(
    const struct product *p, const struct FN(panel) *panel, ptrdiff_t row, ptrdiff_t left,
    const char *ahead, const int rows, const int vectors)
{
    const float *x[ROWS], *from = panel->from;
    FN(vec) sums[ROWS][PANEL];
    UNROLL
    for (int r = 0; r < rows; r++) {
        x[r] = p->x + (row + (r < left ? r : left - 1)) * p->x_stride;
        UNROLL
        for (int v = 0; v < vectors; v++)
            sums[r][v] = FN(set1)(0.0f);
    }
    for (ptrdiff_t k = 0; k < p->weights.inputs; k++, from += panel->stride) {
        FN(vec) weights[PANEL];
        if (rows > 1)
            fetch_share(ahead, k, PANEL_BYTES);
        else
            UNROLL
            for (int v = 0; v < vectors; v++)
                prefetch((const char *)(from + v * W) + AHEAD);
        UNROLL
        for (int v = 0; v < vectors; v++)
            weights[v] = FN(load)(from + v * W, W);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(vec) input = FN(set1)(x[r][k]);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = FN(fma)(input, weights[v], sums[r][v]);
        }
    }
    /* A copy, or the sums would be in memory all along: for their activation, and where a compiler (clang) does
     * not write out the loops below. By rows, for loops of more than 16 are not written out either. */
    FN(vec) values[ROWS * PANEL];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            values[r * vectors + v] = sums[r][v];
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= left)
            break;
        const float *addend = p->addend + (row + r) * p->addend_stride + panel->column;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const int lanes = v + 1 < vectors ? W : panel->lanes;
            if (p->addend)
                values[r * vectors + v] += FN(load)(addend + v * W, lanes);
            if (p->bias)
                values[r * vectors + v] += FN(load)(p->bias + panel->column + v * W, lanes);
        }
    }
    if (p->activation != ACTIVATION_NONE)
        FN(activate_tile)(values, rows * vectors, p->activation);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= left)
            break;
        float *out = p->out + (row + r) * p->out_stride + panel->column;
        UNROLL
        for (int v = 0; v < vectors; v++)
            FN(store)(out + v * W, values[r * vectors + v], v + 1 < vectors ? W : panel->lanes);
    }
}

INLINE void FN(product_panel)(
    const struct product *p, const struct FN(panel) *panel, struct extent rows, const int vectors)
{
    const char *ahead = (const char *)(panel->from + p->weights.inputs * panel->stride);
    for (ptrdiff_t row = rows.begin; row < rows.end; row += ROWS) {
        if (rows.end - row == 1)
            FN(product_tile)(p, panel, row, 1, ahead, 1, vectors);
        else
            FN(product_tile)(p, panel, row, rows.end - row, ahead, ROWS, vectors);
        ahead = after_share(ahead, p->weights.inputs, PANEL_BYTES);
    }
}

/* The panel that `column` lies in, from there on and to `end` at most. */
INLINE struct FN(panel) FN(panel_at)(const struct matrix *m, ptrdiff_t column, ptrdiff_t end)
{
    const ptrdiff_t start = column / (PANEL * W) * (PANEL * W);
    const ptrdiff_t outputs = m->outputs - start < PANEL * W ? m->outputs - start : PANEL * W;
    const ptrdiff_t stride = (outputs + W - 1) / W * W;
    const ptrdiff_t stop = end < start + outputs ? end : start + outputs;
    const int vectors = (int)((stop - column + W - 1) / W);
    return (struct FN(panel)){
        m->panels + start * m->inputs + (column - start), stride, column, vectors,
        FN(lanes_from)(column + (vectors - 1) * W, m->outputs)};
}

/* The given rows of the columns from a whole number of vectors on. Where `columns` ends within a
 * vector, the whole vector is written. */
static void FN(product_float32)(const struct product *p, struct extent rows, struct extent columns)
{
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = {first, first + ROWS_AT_ONCE < rows.end ? first + ROWS_AT_ONCE : rows.end};
        ptrdiff_t column = columns.begin;
        while (column < columns.end) {
            const struct FN(panel) panel = FN(panel_at)(&p->weights, column, columns.end);
            switch (panel.vectors) {
            case 1: FN(product_panel)(p, &panel, block, 1); break;
            case 2: FN(product_panel)(p, &panel, block, 2); break;
#if PANEL == 4
            case 3: FN(product_panel)(p, &panel, block, 3); break;
            case 4: FN(product_panel)(p, &panel, block, 4); break;
#endif
            }
            column += panel.vectors * W;
        }
    }
}
