/* The sums of a block: SHARED weights of each output times as many numbers of a row, exactly.
 *
 * Included once for each instruction set by kernels.h. The codes of a block lie as
 * vimnp/weights/encodings.py defines it: in a line of 64 bytes 4 neighbouring inputs of 16 outputs, for
 * int4 twice, in the lower and the upper halves of the bytes. Numbers are from -127 to 127, weights
 * from -127 to 127 or -8 to 7. Where the codes are multiplied as they are, what was added to the weights
 * is taken off again, times the sum of the row's numbers.
 */

#undef ADDED
#define ADDED(dtype) ((dtype) == DTYPE_INT8 ? 128 : 8)

#if ISA == ISA_AVX2 || ISA == ISA_AVX512
typedef uint16_t FN(shorts) __attribute__((vector_size(4 * W)));
typedef uint16_t FN(unaligned_shorts) __attribute__((vector_size(4 * W), aligned(1), may_alias));

/* Sums of two products each: of unsigned bytes, and signed ones. */
INLINE FN(shorts) FN(multiply_bytes)(FN(shorts) codes, FN(ints) q)
{
#if ISA == ISA_AVX512
    return (FN(shorts))_mm512_maddubs_epi16((__m512i)codes, (__m512i)q);
#else
    return (FN(shorts))_mm256_maddubs_epi16((__m256i)codes, (__m256i)q);
#endif
}

/* Sums of neighbouring pairs, times the factor. */
INLINE FN(ints) FN(add_pairs)(FN(shorts) sums, short factor)
{
#if ISA == ISA_AVX512
    return (FN(ints))_mm512_madd_epi16((__m512i)sums, _mm512_set1_epi16(factor));
#else
    return (FN(ints))_mm256_madd_epi16((__m256i)sums, _mm256_set1_epi16(factor));
#endif
}

INLINE FN(ints) FN(four_of)(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return FN(set1_int)(four);
}

/* The lower halves of all bytes. With AVX2 the mask stays in memory: a tile's sums need its register. */
INLINE FN(shorts) FN(lower_halves)(FN(shorts) codes)
{
#if ISA == ISA_AVX2
    static const uint16_t mask[2 * W] __attribute__((aligned(32))) = {
        0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f,
        0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f, 0x0f0f};
    FN(shorts) lower;
    __asm__("vpand %2, %1, %0" : "=x"(lower) : "x"(codes), "m"(mask));
    return lower;
#else
    const FN(shorts) zero = {0};
    return codes & (zero + 0x0f0f);
#endif
}

/* The instruction by its name: gcc 12 copies and spills around its own function for it. */
#undef ADD_DOT
#if ISA == ISA_AVX512 && VIMNP_IMITATED
#define ADD_DOT(sum, codes, numbers) \
    ((sum) = (FN(ints))_mm512_dpbusd_epi32((__m512i)(sum), (__m512i)(codes), (__m512i)(numbers)))
#elif ISA == ISA_AVX512
#define ADD_DOT(sum, codes, numbers) __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(codes), "v"(numbers))
#else
#define ADD_DOT(sum, codes, numbers) __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(codes), "x"(numbers))
#endif

#if HAS_DOTS
INLINE FN(ints) FN(dot)(FN(ints) sums, FN(shorts) codes, const int8_t *q)
{
#if ISA == ISA_AVX512 && !VIMNP_IMITATED
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(codes), "m"(*(const int32_t *)q));
#else
    ADD_DOT(sums, codes, FN(four_of)(q));
#endif
    return sums;
}
#endif

/* Of int8, the row's numbers are split in two halves (quantise.h), of int4, the weights are such halves already.
 * A product of two whole bytes would take 15 bits, and 16 bits would hold the sum of two; so they hold that of
 * all 16 inputs which come to a lane: at most 16 * 255 * 8. */
INLINE void FN(block_sums)(
    const uint8_t *codes, const struct quantised *const *x, ptrdiff_t block, ptrdiff_t blocks,
    enum dtype dtype, int dots, const int rows, const int vectors, FN(ints) sums[][VECTORS])
{
    FN(shorts) below[TALL][VECTORS], above[TALL][VECTORS];
    const FN(shorts) zero = {0};
    const int lines = dtype == DTYPE_INT8 ? 8 : 4;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            if (dots)
                sums[r][v] = FN(set1_int)(-ADDED(dtype) * x[r][block].sum);
            below[r][v] = above[r][v] = zero;
        }
    }
    UNROLL
    for (int j = 0; j < lines; j++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const FN(shorts) both = (FN(shorts))*(const FN(unaligned_shorts) *)(codes + 64 * j + 4 * W * v);
            const FN(shorts) low = FN(lower_halves)(both), high = FN(lower_halves)(both >> 4);
            UNROLL
            for (int r = 0; r < rows; r++) {
                const int8_t *q = x[r][block].q;
#if HAS_DOTS
                if (dots && dtype == DTYPE_INT8) {
                    sums[r][v] = FN(dot)(sums[r][v], both, q + 4 * j);
                    continue;
                } else if (dots) {
                    sums[r][v] = FN(dot)(sums[r][v], low, q + 8 * j);
                    sums[r][v] = FN(dot)(sums[r][v], high, q + 8 * j + 4);
                    continue;
                }
#endif
                if (dtype == DTYPE_INT8) {
                    const int8_t *q_high = FN(high_of)(x[r], blocks, block);
                    below[r][v] += FN(multiply_bytes)(both, FN(four_of)(q + 4 * j));
                    above[r][v] += FN(multiply_bytes)(both, FN(four_of)(q_high + 4 * j));
                    SETTLE(above[r][v]);
                } else {
                    below[r][v] += FN(multiply_bytes)(low, FN(four_of)(q + 8 * j));
                    SETTLE(below[r][v]);
                    below[r][v] += FN(multiply_bytes)(high, FN(four_of)(q + 8 * j + 4));
                }
                SETTLE(below[r][v]);
            }
        }
    }
    if (dots)
        return;
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = FN(add_pairs)(below[r][v], 1);
            if (dtype == DTYPE_INT8)
                sums[r][v] += FN(add_pairs)(above[r][v], 16);
            sums[r][v] -= FN(set1_int)(ADDED(dtype) * x[r][block].sum);
        }
    }
}

#elif ISA == ISA_SSE2
/* Codes and numbers are widened to 16 bits; a vector holds four inputs of two outputs. */
INLINE void FN(block_sums)(
    const uint8_t *codes, const struct quantised *const *x, ptrdiff_t block, ptrdiff_t blocks,
    enum dtype dtype, int dots, const int rows, const int vectors, FN(ints) sums[][VECTORS])
{
    (void)dots;
    (void)blocks;
    const __m128i zero = _mm_setzero_si128(), half = _mm_set1_epi8(15);
    __m128i of_two[TALL][VECTORS][2];
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            of_two[r][v][0] = of_two[r][v][1] = zero;
    }
    for (int j = 0; j < 4; j++) {
        __m128i eight[TALL]; /* inputs */
        UNROLL
        for (int r = 0; r < rows; r++) {
            const __m128i q = _mm_loadl_epi64((const __m128i *)(x[r][block].q + 8 * j));
            eight[r] = _mm_srai_epi16(_mm_unpacklo_epi8(q, q), 8);
        }
        UNROLL
        for (int v = 0; v < vectors; v++) {
            __m128i first, second; /* four inputs each, of four outputs */
            if (dtype == DTYPE_INT8) {
                first = _mm_loadu_si128((const __m128i *)(codes + 128 * j + 16 * v));
                second = _mm_loadu_si128((const __m128i *)(codes + 128 * j + 64 + 16 * v));
            } else {
                const __m128i both = _mm_loadu_si128((const __m128i *)(codes + 64 * j + 16 * v));
                first = _mm_and_si128(both, half);
                second = _mm_and_si128(_mm_srli_epi16(both, 4), half);
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                const __m128i a = _mm_unpacklo_epi64(eight[r], eight[r]);
                const __m128i b = _mm_unpackhi_epi64(eight[r], eight[r]);
                __m128i *to = of_two[r][v];
                to[0] = _mm_add_epi32(to[0], _mm_madd_epi16(_mm_unpacklo_epi8(first, zero), a));
                to[1] = _mm_add_epi32(to[1], _mm_madd_epi16(_mm_unpackhi_epi8(first, zero), a));
                to[0] = _mm_add_epi32(to[0], _mm_madd_epi16(_mm_unpacklo_epi8(second, zero), b));
                to[1] = _mm_add_epi32(to[1], _mm_madd_epi16(_mm_unpackhi_epi8(second, zero), b));
                SETTLE(to[0]);
                SETTLE(to[1]);
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const __m128 a = _mm_castsi128_ps(of_two[r][v][0]), b = _mm_castsi128_ps(of_two[r][v][1]);
            const FN(ints) even = (FN(ints))_mm_shuffle_ps(a, b, 0x88);
            const FN(ints) odd = (FN(ints))_mm_shuffle_ps(a, b, 0xdd);
            sums[r][v] = even + odd - FN(set1_int)(ADDED(dtype) * x[r][block].sum);
        }
    }
}

#elif ISA == ISA_NEON
typedef uint8x16_t FN(codes);

#define ADD_DOTS(sums, codes, q, lane) \
    __asm__("sdot %0.4s, %1.16b, %2.4b[" #lane "]" : "+w"(sums) : "w"(codes), "w"(q))

/* With the instructions for dot products: 16 inputs at a time. */
INLINE void FN(block_dots)(
    const uint8_t *codes, const struct quantised *const *x, ptrdiff_t block, enum dtype dtype,
    const int rows, const int vectors, FN(ints) sums[][VECTORS])
{
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sums[r][v] = FN(set1_int)(dtype == DTYPE_INT8 ? 0 : -8 * x[r][block].sum);
    }
    UNROLL
    for (int j = 0; j < 2; j++) {
        int8x16_t q[TALL];
        UNROLL
        for (int r = 0; r < rows; r++)
            q[r] = vld1q_s8(x[r][block].q + 16 * j);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            uint8x16_t weights[4];
            if (dtype == DTYPE_INT8) {
                const uint8_t *from = codes + 256 * j + 16 * v;
                UNROLL
                for (int i = 0; i < 4; i++)
                    weights[i] = veorq_u8(vld1q_u8(from + 64 * i), vdupq_n_u8(128));
            } else {
                const uint8_t *from = codes + 128 * j + 16 * v;
                UNROLL
                for (int i = 0; i < 2; i++) {
                    const uint8x16_t both = vld1q_u8(from + 64 * i);
                    weights[2 * i] = vandq_u8(both, vdupq_n_u8(15));
                    weights[2 * i + 1] = vshrq_n_u8(both, 4);
                }
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                ADD_DOTS(sums[r][v], weights[0], q[r], 0);
                ADD_DOTS(sums[r][v], weights[1], q[r], 1);
                ADD_DOTS(sums[r][v], weights[2], q[r], 2);
                ADD_DOTS(sums[r][v], weights[3], q[r], 3);
            }
        }
    }
}

INLINE int8x16_t FN(four_of)(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
}

/* Products of bytes are added up in 16 bits, which hold the sum of two, or with 4 bits of eight. */
INLINE void FN(block_sums)(
    const uint8_t *codes, const struct quantised *const *x, ptrdiff_t block, ptrdiff_t blocks,
    enum dtype dtype, int dots, const int rows, const int vectors, FN(ints) sums[][VECTORS])
{
    if (dots) {
        FN(block_dots)(codes, x, block, dtype, rows, vectors, sums);
        return;
    }
    int32x4_t of_two[TALL][VECTORS][2]; /* two sums of each of two outputs */
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            of_two[r][v][0] = of_two[r][v][1] = vdupq_n_s32(0);
    }
    UNROLL
    for (int j = 0; j < 4; j++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            int8x16_t first, second; /* four inputs each, of four outputs */
            if (dtype == DTYPE_INT8) {
                const uint8_t *from = codes + 128 * j + 16 * v;
                first = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from), vdupq_n_u8(128)));
                second = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(from + 64), vdupq_n_u8(128)));
            } else {
                const uint8x16_t both = vld1q_u8(codes + 64 * j + 16 * v);
                first = vreinterpretq_s8_u8(vandq_u8(both, vdupq_n_u8(15)));
                second = vreinterpretq_s8_u8(vshrq_n_u8(both, 4));
            }
            UNROLL
            for (int r = 0; r < rows; r++) {
                const int8x16_t a = FN(four_of)(x[r][block].q + 8 * j);
                const int8x16_t b = FN(four_of)(x[r][block].q + 8 * j + 4);
                int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(a));
                int16x8_t high = vmull_high_s8(first, a);
                low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(b));
                high = vmlal_high_s8(high, second, b);
                of_two[r][v][0] = vpadalq_s16(of_two[r][v][0], low);
                of_two[r][v][1] = vpadalq_s16(of_two[r][v][1], high);
            }
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = (FN(ints))vpaddq_s32(of_two[r][v][0], of_two[r][v][1]);
            if (dtype == DTYPE_INT4)
                sums[r][v] -= FN(set1_int)(8 * x[r][block].sum);
        }
    }
}

#else
INLINE void FN(block_sums)(
    const uint8_t *codes, const struct quantised *const *x, ptrdiff_t block, ptrdiff_t blocks,
    enum dtype dtype, int dots, const int rows, const int vectors, FN(ints) sums[][VECTORS])
{
    (void)dots;
    (void)blocks;
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < vectors; v++)
            sums[r][v] = -ADDED(dtype) * x[r][block].sum;
    for (int i = 0; i < SHARED; i++) {
        const int line = dtype == DTYPE_INT8 ? i / 4 : i / 8, shift = i / 4 % 2 * 4;
        for (int v = 0; v < vectors; v++) {
            const int byte = codes[64 * line + 4 * v + i % 4];
            const int code = dtype == DTYPE_INT8 ? byte : byte >> shift & 15;
            for (int r = 0; r < rows; r++)
                sums[r][v] += code * x[r][block].q[i];
        }
    }
}
#endif
