/* ReLU: what is negative becomes 0, and NaN stays what it is.
 *
 * Included once for each instruction set by kernels.h.
 */

static void FN(relu_floats)(float *x, ptrdiff_t length)
{
    for (ptrdiff_t i = 0; i < length; i++)
        x[i] = x[i] < 0.0f ? 0.0f : x[i];
}
