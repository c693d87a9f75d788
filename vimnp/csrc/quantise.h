/* Rows of x as whole numbers of 8 bits, with a scale for each SHARED of them, or with one for a row: the other
 * side of a product with a matrix that is stored so.
 *
 * Included once for each instruction set by kernels.h. All sets make the same numbers.
 */

/* Below it, what lies in a block counts as zero: 127 over the largest number would overflow. */
#undef LEAST
#define LEAST 0x1p-100f

/* Rounds x / scale. What is not finite makes the scale NaN, and so every sum that it is in. */
static void FN(quantise_block)(const float *x, struct quantised *to)
{
    FN(ints) largest = FN(set1_int)(0);
    for (int i = 0; i < SHARED; i += W)
        largest = FN(larger_int)(largest, FN(size_bits)(FN(load)(x + i, W)));
    int32_t parts[SHARED], bits = 0;
    memcpy(parts, &largest, sizeof largest);
    for (int i = 0; i < W; i++)
        bits = parts[i] > bits ? parts[i] : bits;
    float most;
    memcpy(&most, &bits, sizeof most);
    memset(to, 0, sizeof *to);
    if (most < LEAST)
        return;
    if (bits >= 0x7f800000) {
        to->scale = NAN;
        return;
    }
    to->scale = most / 127.0f;
    const FN(vec) inverse = FN(set1)(127.0f / most);
    for (int i = 0; i < SHARED; i += W) {
        const FN(ints) whole = FN(to_int)(FN(load)(x + i, W) * inverse);
        memcpy(parts + i, &whole, sizeof whole);
    }
    int32_t sum = 0;
    for (int i = 0; i < SHARED; i++) {
        to->q[i] = (int8_t)parts[i];
        sum += parts[i];
    }
    to->sum = sum;
}

/* Whether a number is kept as q + 16 high, each of them -8 to 8: bytes of weights times such halves can be
 * added up in 16 bits. Those of a row stand behind its blocks. */
#undef SPLITS
#define SPLITS(dtype, dots) ((ISA == ISA_AVX2 || ISA == ISA_AVX512) && (dtype) == DTYPE_INT8 && !(dots))

/* From a row's blocks to the next row's. */
INLINE ptrdiff_t FN(row_size)(ptrdiff_t blocks, const int splits)
{
    return blocks * (ptrdiff_t)(sizeof(struct quantised) + (splits ? SHARED : 0));
}

INLINE const struct quantised *FN(row_of)(const void *rows, ptrdiff_t row, ptrdiff_t blocks, const int splits)
{
    return (const struct quantised *)((const char *)rows + row * FN(row_size)(blocks, splits));
}

INLINE const int8_t *FN(high_of)(const struct quantised *row, ptrdiff_t blocks, ptrdiff_t block)
{
    return (const int8_t *)(row + blocks) + SHARED * block;
}

static void FN(split_block)(struct quantised *block, int8_t *high)
{
    for (int i = 0; i < SHARED; i++) {
        const int q = block->q[i], low = ((q + 8) & 15) - 8;
        block->q[i] = (int8_t)low;
        high[i] = (int8_t)((q - low) / 16);
    }
}

/* A row in whole blocks: zeros fill the last one. */
static void FN(quantise_row)(const float *x, ptrdiff_t inputs, struct quantised *to)
{
    const ptrdiff_t whole = inputs / SHARED * SHARED;
    for (ptrdiff_t k = 0; k < whole; k += SHARED)
        FN(quantise_block)(x + k, to++);
    if (whole < inputs) {
        float last[SHARED] = {0};
        memcpy(last, x + whole, sizeof(float) * (size_t)(inputs - whole));
        FN(quantise_block)(last, to);
    }
}

INLINE void FN(quantise_rows)(const struct product *p, struct extent rows, const int splits)
{
    const ptrdiff_t blocks = (p->weights.inputs + SHARED - 1) / SHARED;
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        struct quantised *x = (struct quantised *)FN(row_of)(p->scratch, row - rows.begin, blocks, splits);
        FN(quantise_row)(p->x + row * p->x_stride, p->weights.inputs, x);
        for (ptrdiff_t b = 0; splits && b < blocks; b++)
            FN(split_block)(x + b, (int8_t *)FN(high_of)(x, blocks, b));
    }
}

/* These rows into the scratch, unless it holds them. */
INLINE void FN(fill_scratch)(const struct product *p, struct extent rows, const int splits)
{
    const enum form form = splits ? FORM_HALVES : FORM_BLOCKS;
    const struct kept_rows wanted = {p->x, rows, p->weights.inputs, form, NULL};
    if (is_kept(p->kept, &wanted))
        return;
    FN(quantise_rows)(p, rows, splits);
    if (p->kept)
        *p->kept = wanted;
}

/* ---- A row with one scale ---- */

/* Whether the numbers of a row lie in 16 bits each: where the instruction set adds up products of those and
 * not of bytes. Of every four the second and the third then change places: even inputs, then odd ones. */
#undef SHORTS
#define SHORTS(dots) ((ISA == ISA_AVX512 || ISA == ISA_AVX2 || ISA == ISA_SSE2) && !(dots))

/* Numbers that are stored together, and the vectors that they come in. */
#undef STORED
#define STORED (16 / W)

/* Puts 16 numbers from `k` on in their places. */
INLINE void FN(store_numbers)(const FN(ints) *whole, void *numbers, ptrdiff_t k, const int shorts)
{
#if ISA == ISA_AVX512
    if (shorts) {
        const __m256i in_order = _mm512_cvtepi32_epi16((__m512i)whole[0]);
        const __m256i half = _mm256_shufflelo_epi16(in_order, 0xd8);
        _mm256_storeu_si256((__m256i *)((int16_t *)numbers + k), _mm256_shufflehi_epi16(half, 0xd8));
    } else
        _mm_storeu_si128((__m128i *)((int8_t *)numbers + k), _mm512_cvtepi32_epi8((__m512i)whole[0]));
#elif ISA == ISA_AVX2
    const __m256i both = _mm256_packs_epi32((__m256i)whole[0], (__m256i)whole[1]);
    const __m256i in_order = _mm256_permute4x64_epi64(both, 0xd8);
    if (shorts) {
        const __m256i half = _mm256_shufflelo_epi16(in_order, 0xd8);
        _mm256_storeu_si256((__m256i *)((int16_t *)numbers + k), _mm256_shufflehi_epi16(half, 0xd8));
        return;
    }
    const __m128i low = _mm256_castsi256_si128(in_order), high = _mm256_extracti128_si256(in_order, 1);
    _mm_storeu_si128((__m128i *)((int8_t *)numbers + k), _mm_packs_epi16(low, high));
#elif ISA == ISA_SSE2
    (void)shorts;
    for (int i = 0; i < 2; i++) {
        const __m128i eight = _mm_packs_epi32((__m128i)whole[2 * i], (__m128i)whole[2 * i + 1]);
        const __m128i half = _mm_shufflelo_epi16(eight, 0xd8);
        _mm_storeu_si128((__m128i *)((int16_t *)numbers + k + 8 * i), _mm_shufflehi_epi16(half, 0xd8));
    }
#elif ISA == ISA_NEON
    (void)shorts;
    int8x8_t eight[2];
    for (int i = 0; i < 2; i++) {
        const int16x4_t low = vmovn_s32((int32x4_t)whole[2 * i]), high = vmovn_s32((int32x4_t)whole[2 * i + 1]);
        eight[i] = vmovn_s16(vcombine_s16(low, high));
    }
    vst1q_s8((int8_t *)numbers + k, vcombine_s8(eight[0], eight[1]));
#else
    (void)shorts;
    for (int i = 0; i < 16; i++)
        ((int8_t *)numbers)[k + i] = (int8_t)whole[i];
#endif
}

INLINE FN(vec) FN(load_input)(const float *x, const float *factors, ptrdiff_t k)
{
    const FN(vec) value = FN(load)(x + k, W);
    return factors ? value * FN(load)(factors + k, W) : value;
}

/* The bits of the largest |x * factors|, of whole blocks of inputs. */
INLINE int32_t FN(largest_bits)(const float *x, const float *factors, ptrdiff_t inputs)
{
    FN(ints) largest[STORED];
    for (int i = 0; i < STORED; i++)
        largest[i] = FN(set1_int)(0);
    for (ptrdiff_t k = 0; k < inputs; k += 16)
        for (int i = 0; i < STORED; i++)
            largest[i] = FN(larger_int)(largest[i], FN(size_bits)(FN(load_input)(x, factors, k + i * W)));
    for (int i = 1; i < STORED; i++)
        largest[0] = FN(larger_int)(largest[0], largest[i]);
    int32_t parts[W], bits = 0;
    memcpy(parts, largest, sizeof parts);
    for (int i = 0; i < W; i++)
        bits = parts[i] > bits ? parts[i] : bits;
    return bits;
}

/* Rounds x * factors * inverse, of whole blocks of inputs; the sum of the numbers. */
INLINE int32_t FN(round_inputs)(
    const float *x, const float *factors, ptrdiff_t inputs, float inverse, void *numbers, const int shorts)
{
    FN(ints) sums[STORED];
    for (int i = 0; i < STORED; i++)
        sums[i] = FN(set1_int)(0);
    for (ptrdiff_t k = 0; k < inputs; k += 16) {
        FN(ints) whole[STORED];
        for (int i = 0; i < STORED; i++) {
            whole[i] = FN(to_int)(FN(load_input)(x, factors, k + i * W) * FN(set1)(inverse));
            sums[i] += whole[i];
        }
        FN(store_numbers)(whole, numbers, k, shorts);
    }
    for (int i = 1; i < STORED; i++)
        sums[0] += sums[i];
    int32_t parts[W], sum = 0;
    memcpy(parts, sums, sizeof parts);
    for (int i = 0; i < W; i++)
        sum += parts[i];
    return sum;
}

/* A row, multiplied by `factors` first where there are any. As of a block, next to nothing counts as zero,
 * and what is not finite makes the scale NaN. */
INLINE void FN(quantise_whole)(
    const float *x, const float *factors, ptrdiff_t inputs, struct quantised_row *to, const int shorts)
{
    const ptrdiff_t whole = inputs / SHARED * SHARED, rest = inputs > whole ? SHARED : 0;
    char *numbers = (char *)(to + 1), *last_numbers = numbers + whole * (shorts ? 2 : 1);
    float last[SHARED];
    int32_t bits = FN(largest_bits)(x, factors, whole);
    if (rest) {
        memset(last, 0, sizeof last);
        for (ptrdiff_t k = whole; k < inputs; k++)
            last[k - whole] = factors ? x[k] * factors[k] : x[k];
        const int32_t bits_of_last = FN(largest_bits)(last, NULL, rest);
        bits = bits_of_last > bits ? bits_of_last : bits;
    }
    float most;
    memcpy(&most, &bits, sizeof most);
    if (bits >= 0x7f800000 || most < LEAST) {
        to->scale = most < LEAST ? 0.0f : NAN;
        to->sum = 0;
        memset(numbers, 0, (size_t)((whole + rest) * (shorts ? 2 : 1)));
        return;
    }
    to->scale = most / 127.0f;
    const float inverse = 127.0f / most;
    to->sum = FN(round_inputs)(x, factors, whole, inverse, numbers, shorts);
    if (rest)
        to->sum += FN(round_inputs)(last, NULL, rest, inverse, last_numbers, shorts);
}

/* These rows of x, as a matrix wants them, to rows that lie `stride` floats apart. */
static void FN(quantise_whole_rows)(
    const struct matrix *m, const float *x, ptrdiff_t x_stride, float *to, ptrdiff_t stride,
    struct extent rows, const int shorts)
{
    for (ptrdiff_t row = rows.begin; row < rows.end; row++)
        FN(quantise_whole)(
            x + row * x_stride, m->factors, m->inputs, (struct quantised_row *)(to + row * stride), shorts);
}

/* These rows into the scratch, unless it holds them. */
static void FN(fill_with_whole)(const struct product *p, struct extent rows, const int shorts)
{
    const struct matrix *m = &p->weights;
    const struct kept_rows wanted = {p->x, rows, m->inputs, FORM_WHOLE, m->factors};
    if (is_kept(p->kept, &wanted))
        return;
    const struct extent from_zero = {0, rows.end - rows.begin};
    const float *first = p->x + rows.begin * p->x_stride;
    FN(quantise_whole_rows)(m, first, p->x_stride, p->scratch, floats_of_row(m->inputs), from_zero, shorts);
    if (p->kept)
        *p->kept = wanted;
}
