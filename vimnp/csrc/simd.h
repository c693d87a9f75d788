/* A vector of neighbouring channels: load, store, and the few operations that plain C has no word for.
 *
 * Included once for each instruction set by isa.h, which sets
 *     ISA         one of ISA_SCALAR, ISA_SSE2, ISA_AVX2, ISA_AVX512, ISA_NEON
 *     FN(name)    name with the instruction set's suffix
 * so there is no include guard. What builds on this file is the same source everywhere.
 */

#undef W

/* The vector type: W floats. */
#if ISA == ISA_SCALAR
#define W 1
typedef float FN(vec);
#else
#if ISA == ISA_AVX512
#define W 16
#elif ISA == ISA_AVX2
#define W 8
#else /* SSE2, NEON */
#define W 4
#endif
/* may_alias and the weak alignment make a plain dereference an unaligned load or store. */
typedef float FN(vec) __attribute__((vector_size(4 * W)));
typedef float FN(unaligned) __attribute__((vector_size(4 * W), aligned(4), may_alias));
#endif

INLINE FN(vec) FN(set1)(float value)
{
#if ISA == ISA_SCALAR
    return value;
#elif ISA == ISA_AVX512
    return (FN(vec))_mm512_set1_ps(value);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_set1_ps(value);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_set1_ps(value);
#else
    return (FN(vec))vdupq_n_f32(value);
#endif
}

#if ISA == ISA_AVX512
#define FIRST_LANES(lanes) ((__mmask16)((1u << (lanes)) - 1))
#endif

/* `lanes` is W for all blocks of channels but the last: there it keeps to the array's end. AVX-512 has masks
 * for that; and a call of memcpy, for which all vectors are saved, would keep a tile's sums in memory
 * throughout where they are few (GCC 12). */
INLINE FN(vec) FN(load)(const float *from, int lanes)
{
#if ISA == ISA_SCALAR
    (void)lanes;
    return *from;
#else
    if (lanes == W)
        return *(const FN(unaligned) *)from;
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_maskz_loadu_ps(FIRST_LANES(lanes), from);
#else
    FN(vec) some = {0};
    memcpy(&some, from, sizeof(float) * (size_t)lanes);
    return some;
#endif
#endif
}

INLINE void FN(store)(float *to, FN(vec) value, int lanes)
{
#if ISA == ISA_SCALAR
    (void)lanes;
    *to = value;
#else
    if (lanes == W)
        *(FN(unaligned) *)to = value;
    else
#if ISA == ISA_AVX512
        _mm512_mask_storeu_ps(to, FIRST_LANES(lanes), (__m512)value);
#else
        memcpy(to, &value, sizeof(float) * (size_t)lanes);
#endif
#endif
}

/* The value in the first lanes, zero in the others. */
INLINE FN(vec) FN(set_lanes)(float value, int lanes)
{
    float parts[W];
    FN(store)(parts, FN(set1)(value), W);
    return FN(load)(parts, lanes);
}

/* a * b + c, rounded once where the instruction set can. */
INLINE FN(vec) FN(fma)(FN(vec) a, FN(vec) b, FN(vec) c)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif ISA == ISA_NEON
    return (FN(vec))vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* The larger and the smaller of two; NaN if y is NaN, whatever x. */
INLINE FN(vec) FN(larger)(FN(vec) x, FN(vec) y)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_max_ps((__m512)x, (__m512)y);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_max_ps((__m256)x, (__m256)y);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_max_ps((__m128)x, (__m128)y);
#elif ISA == ISA_NEON
    return (FN(vec))vmaxq_f32((float32x4_t)x, (float32x4_t)y);
#else
    return x > y ? x : y;
#endif
}

INLINE FN(vec) FN(smaller)(FN(vec) x, FN(vec) y)
{
#if ISA == ISA_AVX512
    return (FN(vec))_mm512_min_ps((__m512)x, (__m512)y);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_min_ps((__m256)x, (__m256)y);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_min_ps((__m128)x, (__m128)y);
#elif ISA == ISA_NEON
    return (FN(vec))vminq_f32((float32x4_t)x, (float32x4_t)y);
#else
    return x < y ? x : y;
#endif
}

/* x, but no less and no more than the limit; NaN if x is NaN. */
INLINE FN(vec) FN(at_least)(FN(vec) x, float limit)
{
    return FN(larger)(FN(set1)(limit), x);
}

INLINE FN(vec) FN(at_most)(FN(vec) x, float limit)
{
    return FN(smaller)(FN(set1)(limit), x);
}
