/* Vectors of whole numbers, and how they and bfloat16 become floats: for matrices that are stored small.
 *
 * Included once for each instruction set by kernels.h.
 */

#if ISA == ISA_SCALAR
typedef int32_t FN(ints);
#else
typedef int32_t FN(ints) __attribute__((vector_size(4 * W)));
typedef uint32_t FN(words) __attribute__((vector_size(4 * W)));
typedef uint32_t FN(unaligned_words) __attribute__((vector_size(4 * W), aligned(2), may_alias));
#endif

INLINE FN(ints) FN(set1_int)(int32_t value)
{
#if ISA == ISA_SCALAR
    return value;
#elif ISA == ISA_AVX512
    return (FN(ints))_mm512_set1_epi32(value);
#elif ISA == ISA_AVX2
    return (FN(ints))_mm256_set1_epi32(value);
#elif ISA == ISA_SSE2
    return (FN(ints))_mm_set1_epi32(value);
#else
    return (FN(ints))vdupq_n_s32(value);
#endif
}

INLINE FN(vec) FN(to_float)(FN(ints) whole)
{
#if ISA == ISA_SCALAR
    return (float)whole;
#elif ISA == ISA_AVX512
    return (FN(vec))_mm512_cvtepi32_ps((__m512i)whole);
#elif ISA == ISA_AVX2
    return (FN(vec))_mm256_cvtepi32_ps((__m256i)whole);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_cvtepi32_ps((__m128i)whole);
#else
    return (FN(vec))vcvtq_f32_s32((int32x4_t)whole);
#endif
}

/* The nearest whole numbers, ties to even. */
INLINE FN(ints) FN(to_int)(FN(vec) value)
{
#if ISA == ISA_SCALAR
    return (int32_t)lrintf(value);
#elif ISA == ISA_AVX512
    return (FN(ints))_mm512_cvtps_epi32((__m512)value);
#elif ISA == ISA_AVX2
    return (FN(ints))_mm256_cvtps_epi32((__m256)value);
#elif ISA == ISA_SSE2
    return (FN(ints))_mm_cvtps_epi32((__m128)value);
#else
    return (FN(ints))vcvtnq_s32_f32((float32x4_t)value);
#endif
}

/* The bits of |value|, which are ordered as the numbers are, and infinity and NaN after all others. */
INLINE FN(ints) FN(size_bits)(FN(vec) value)
{
#if ISA == ISA_SCALAR
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffff;
#else
    return (FN(ints))value & FN(set1_int)(0x7fffffff);
#endif
}

INLINE FN(ints) FN(larger_int)(FN(ints) x, FN(ints) y)
{
#if ISA == ISA_SCALAR
    return x > y ? x : y;
#elif ISA == ISA_AVX512
    return (FN(ints))_mm512_max_epi32((__m512i)x, (__m512i)y);
#elif ISA == ISA_AVX2
    return (FN(ints))_mm256_max_epi32((__m256i)x, (__m256i)y);
#elif ISA == ISA_SSE2
    const FN(ints) first = x > y;
    return (x & first) | (y & ~first);
#else
    return (FN(ints))vmaxq_s32((int32x4_t)x, (int32x4_t)y);
#endif
}

/* Neighbouring bfloat16s as floats. */
INLINE FN(vec) FN(widen)(const uint16_t *from)
{
#if ISA == ISA_SCALAR
    const uint32_t bits = (uint32_t)*from << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
#elif ISA == ISA_AVX512
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)from));
    return (FN(vec))_mm512_slli_epi32(wide, 16);
#elif ISA == ISA_AVX2
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)from));
    return (FN(vec))_mm256_slli_epi32(wide, 16);
#elif ISA == ISA_SSE2
    return (FN(vec))_mm_unpacklo_epi16(_mm_setzero_si128(), _mm_loadl_epi64((const __m128i *)from));
#else
    return (FN(vec))vshll_n_u16(vld1_u16(from), 16);
#endif
}

/* Of neighbouring pairs of bfloat16s the first ones, or the second ones, as floats. */
INLINE FN(vec) FN(widen_pairs)(const uint16_t *from, const int second)
{
#if ISA == ISA_SCALAR
    return FN(widen)(from + second);
#else
    const FN(words) pairs = (FN(words))*(const FN(unaligned_words) *)from;
#if ISA == ISA_AVX2 || (ISA == ISA_AVX512 && !VIMNP_IMITATED)
    /* The mask stays in memory: a tile's sums need its register, and gcc would give it that. */
    static const uint32_t mask[8] __attribute__((aligned(32))) = {
        0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000, 0xffff0000};
    if (second) {
        FN(words) above;
#if ISA == ISA_AVX2
        __asm__("vpand %2, %1, %0" : "=x"(above) : "x"(pairs), "m"(mask));
#else
        __asm__("vpandd %2%{1to16%}, %1, %0" : "=v"(above) : "v"(pairs), "m"(mask[0]));
#endif
        return (FN(vec))above;
    }
#endif
    if (second)
        return (FN(vec))(pairs & (FN(words))FN(set1_int)((int32_t)0xffff0000));
    return (FN(vec))(pairs << 16);
#endif
}
