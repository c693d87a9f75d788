/* ReLU: what is negative becomes 0, and NaN stays what it is.
 *
 * Included once for each instruction set by kernels.h.
 */

INLINE void FN(relu)(FN(vec) *x, int number)
{
    for (int i = 0; i < number; i++)
        x[i] = FN(at_least)(x[i], 0.0f);
}

/* Of neighbouring floats. */
static void FN(relu_floats)(float *x, ptrdiff_t length)
{
    for (ptrdiff_t i = 0; i < length; i += W) {
        const int lanes = FN(lanes_from)(i, length);
        FN(store)(x + i, FN(at_least)(FN(load)(x + i, lanes), 0.0f), lanes);
    }
}
