/* Product with a packed matrix, whatever it is stored as.
 *
 * Included once for each instruction set by kernels.h. A sum takes its inputs in order, in whatever
 * tile it is, so its bits do not depend on how a product is split.
 */

/* The given rows of the columns from a whole number of vectors on. Where `columns` ends within a
 * vector, the whole vector is written. */
static void FN(product)(const struct product *p, struct extent rows, struct extent columns)
{
    switch (p->weights.dtype) {
    case DTYPE_FLOAT32: FN(product_float32)(p, rows, columns); break;
    case DTYPE_BFLOAT16: FN(product_bfloat16)(p, rows, columns); break;
    case DTYPE_INT8: FN(product_int8)(p, rows, columns); break;
    case DTYPE_INT4: FN(product_int4)(p, rows, columns); break;
    }
}
