/* What the products with matrices that are stored small have in common.
 *
 * Included once for each instruction set by kernels.h.
 */

/* Vectors in a panel of SMALL_PANEL outputs. */
#undef VECTORS
#define VECTORS (SMALL_PANEL / W)

/* Where a vector is kept that __asm__ reads and writes. */
#undef KEPT
#if ISA == ISA_AVX512 && VIMNP_IMITATED
#define KEPT "+m"
#elif ISA == ISA_AVX512
#define KEPT "+v"
#elif ISA == ISA_AVX2 || ISA == ISA_SSE2
#define KEPT "+x"
#elif ISA == ISA_NEON
#define KEPT "+w"
#endif

/* SETTLE holds a sum where it is: left to itself, gcc makes many products before it adds them up, and has no
 * registers for them. READ_AFTER: what is read from there is read when the sum is made. */
#undef SETTLE
#undef READ_AFTER
#if ISA == ISA_SCALAR
#define SETTLE(sum) (void)(sum)
#define READ_AFTER(from, sum) (void)(from), (void)(sum)
#else
#define SETTLE(sum) __asm__("" : KEPT(sum))
#define READ_AFTER(from, sum) __asm__("" : "+r"(from), KEPT(sum))
#endif

/* Writes a vector of finished sums. */
INLINE void FN(store_sums)(const struct product *p, ptrdiff_t row, ptrdiff_t column, FN(vec) sums)
{
    const int lanes = FN(lanes_from)(column, p->weights.outputs);
    if (p->addend)
        sums += FN(load)(p->addend + row * p->addend_stride + column, lanes);
    if (p->bias)
        sums += FN(load)(p->bias + column, lanes);
    FN(store)(p->out + row * p->out_stride + column, sums, lanes);
}
