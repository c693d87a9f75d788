/* Product with a packed matrix, whatever it is stored as.
 *
 * Included once for each instruction set by kernels.h. A sum takes its inputs in order, in whatever
 * tile it is, so its bits do not depend on how a product is split.
 */

static void FN(product_and_activation)(
    const struct product *p, struct extent rows, struct extent columns);

/* The given rows of the columns from a whole number of vectors on. Where `columns` ends within a
 * vector, the whole vector is written. */
static void FN(product)(const struct product *p, struct extent rows, struct extent columns)
{
    const int has_it_in_tiles = p->weights.dtype == DTYPE_FLOAT32 || p->weights.dtype == DTYPE_INT8_PER_CHANNEL;
    if (p->activation != ACTIVATION_NONE && !has_it_in_tiles) {
        FN(product_and_activation)(p, rows, columns);
        return;
    }
    switch (p->weights.dtype) {
    case DTYPE_FLOAT32: FN(product_float32)(p, rows, columns); break;
    case DTYPE_BFLOAT16: FN(product_bfloat16)(p, rows, columns); break;
    case DTYPE_INT8: FN(product_int8)(p, rows, columns); break;
    case DTYPE_INT4: FN(product_int4)(p, rows, columns); break;
    case DTYPE_INT8_PER_CHANNEL: FN(product_per_channel)(p, rows, columns); break;
    }
}

/* Whole panels of columns that are multiplied before the activation goes over them. */
#undef ACTIVATED
#define ACTIVATED (4 * PANEL * W)

/* The activation goes over some rows and columns while they are in the cache: only products with float32
 * and int8_per_channel have it in their tiles. Rows that are to be quantised are quantised once, for all columns. */
static void FN(product_and_activation)(
    const struct product *p, struct extent rows, struct extent columns)
{
    struct product plain = *p;
    plain.activation = ACTIVATION_NONE;
    const int is_quantised = is_of_whole_numbers(p->weights.dtype);
    const struct extent outputs = {0, p->weights.outputs};
    columns = common((struct extent){columns.begin, (columns.end + W - 1) / W * W}, outputs);
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        for (ptrdiff_t column = columns.begin; column < columns.end;) {
            const ptrdiff_t end = is_quantised ? columns.end : (column / ACTIVATED + 1) * ACTIVATED;
            const struct extent some = common(columns, (struct extent){column, end});
            FN(product)(&plain, block, some);
            for (ptrdiff_t row = block.begin; row < block.end; row++) {
                float *out = p->out + row * p->out_stride + some.begin;
                if (p->activation == ACTIVATION_GELU)
                    FN(gelu_floats)(out, out, some.end - some.begin);
                else
                    FN(relu_floats)(out, some.end - some.begin);
            }
            column = end;
        }
    }
}
