/* Product with a matrix of int8_per_channel: whole numbers, with a scale for each output.
 *
 * Included once for each instruction set by kernels.h; vimnp/weights/encodings.py defines the panels, which
 * are those of int8. A row of x has one scale, too, so the sum over all inputs is one of whole numbers: exact
 * in 32 bits, whatever the order, and the same on every instruction set. A tile of sums stays in registers on
 * its way down the inputs, as in product_float32.h.
 */

/* Of a tile: rows, and vectors of outputs. */
#undef CHANNEL_ROWS
#undef CHANNEL_VECTORS
#undef STEP
#if ISA == ISA_NEON
#define CHANNEL_ROWS(dots) ((dots) ? 5 : 4)
#define CHANNEL_VECTORS(dots) ((dots) ? 4 : 2)
#define STEP(dots) ((dots) ? 16 : 8) /* inputs that are multiplied together */
#else
#define CHANNEL_ROWS(dots) ROWS
#define CHANNEL_VECTORS(dots) PANEL
#define STEP(dots) 4
#endif

/* Where the codes of some vectors of outputs begin, and the numbers of some rows. */
struct FN(sides) {
    const uint8_t *codes[PANEL];
    const int8_t *numbers[ROWS];
};

#if ISA == ISA_AVX2 || ISA == ISA_AVX512 || ISA == ISA_SSE2
/* Two codes of each of W outputs, widened to 16 bits: the first and the third of four, or the others. */
INLINE FN(ints) FN(two_codes)(const uint8_t *codes, const int second)
{
#if ISA == ISA_AVX512
    const __m512i four = _mm512_loadu_si512(codes);
    return (FN(ints))(second ? _mm512_srli_epi16(four, 8) : _mm512_and_si512(four, _mm512_set1_epi16(255)));
#elif ISA == ISA_AVX2
    /* The mask stays in memory: a tile's sums need its register. */
    static const uint16_t mask[16] __attribute__((aligned(32))) = {
        255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
    const __m256i four = _mm256_loadu_si256((const __m256i *)codes);
    if (second)
        return (FN(ints))_mm256_srli_epi16(four, 8);
    FN(ints) first;
    __asm__("vpand %2, %1, %0" : "=x"(first) : "x"(four), "m"(mask));
    return first;
#else
    const __m128i four = _mm_loadu_si128((const __m128i *)codes);
    return (FN(ints))(second ? _mm_srli_epi16(four, 8) : _mm_and_si128(four, _mm_set1_epi16(255)));
#endif
}

/* Two neighbouring numbers of 16 bits, or four of 8, for every output. */
INLINE FN(ints) FN(every_output)(const int8_t *numbers)
{
    int32_t bits;
    memcpy(&bits, numbers, sizeof bits);
    return FN(set1_int)(bits);
}

/* sums + the products of two neighbours. By its name with AVX2: left to itself, gcc makes many products
 * before it adds them up, and has no registers for them. */
INLINE FN(ints) FN(add_products)(FN(ints) sums, FN(ints) numbers, FN(ints) codes)
{
#if ISA == ISA_AVX512
    sums += (FN(ints))_mm512_madd_epi16((__m512i)numbers, (__m512i)codes);
#elif ISA == ISA_AVX2
    __asm__("vpmaddwd %2, %1, %%ymm15\n\tvpaddd %%ymm15, %0, %0"
            : "+x"(sums) : "x"(numbers), "x"(codes) : "xmm15");
#else
    sums += (FN(ints))_mm_madd_epi16((__m128i)numbers, (__m128i)codes);
#endif
    SETTLE(sums);
    return sums;
}

#if ISA == ISA_AVX512
/* As FN(dot) of block_sums.h, with the numbers in a register: several vectors of outputs share them. */
INLINE FN(ints) FN(add_dots)(FN(ints) sums, FN(ints) codes, FN(ints) numbers)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(codes), "v"(numbers));
    return sums;
}
#endif

/* Of four inputs. Codes are 128 more than the weights: what that adds was taken off before. */
INLINE void FN(channel_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int dots, const int rows, const int vectors,
    FN(ints) sums[][PANEL])
{
#if ISA == ISA_AVX512
    if (dots) {
        FN(ints) four[PANEL];
        UNROLL
        for (int v = 0; v < vectors; v++)
            four[v] = (FN(ints))_mm512_loadu_si512(of->codes[v] + 16 * k);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(ints) numbers = FN(every_output)(of->numbers[r] + k);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = FN(add_dots)(sums[r][v], four[v], numbers);
        }
        return;
    }
#endif
    (void)dots;
    UNROLL
    for (int second = 0; second < 2; second++) {
        FN(ints) codes[PANEL];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const uint8_t *from = of->codes[v] + 16 * k;
            READ_AFTER(from, sums[rows - 1][v]); /* and not for both at once */
            codes[v] = FN(two_codes)(from, second);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(ints) numbers = FN(every_output)(of->numbers[r] + 2 * k + 4 * second);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = FN(add_products)(sums[r][v], numbers, codes[v]);
        }
    }
}

#elif ISA == ISA_NEON
INLINE int8x16_t FN(weights_of)(const uint8_t *codes)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes), vdupq_n_u8(128)));
}

/* Of 16 inputs with the instruction for dot products, of 8 without it: see block_sums.h. */
INLINE void FN(channel_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int dots, const int rows, const int vectors,
    FN(ints) sums[][PANEL])
{
    (void)dots;
    int8x16_t q[ROWS];
    UNROLL
    for (int r = 0; r < rows; r++)
        q[r] = vld1q_s8(of->numbers[r] + k);
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const uint8_t *from = of->codes[v] + 16 * k;
        const int8x16_t first = FN(weights_of)(from), second = FN(weights_of)(from + 64);
        const int8x16_t third = FN(weights_of)(from + 128), fourth = FN(weights_of)(from + 192);
        UNROLL
        for (int r = 0; r < rows; r++) {
            ADD_DOTS(sums[r][v], first, q[r], 0);
            ADD_DOTS(sums[r][v], second, q[r], 1);
            ADD_DOTS(sums[r][v], third, q[r], 2);
            ADD_DOTS(sums[r][v], fourth, q[r], 3);
        }
    }
}

/* Two sums of each of two outputs. */
INLINE void FN(pairs_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int rows, const int vectors, int32x4_t of_two[][2][2])
{
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const uint8_t *from = of->codes[v] + 16 * k;
        const int8x16_t first = FN(weights_of)(from), second = FN(weights_of)(from + 64);
        UNROLL
        for (int r = 0; r < rows; r++) {
            const int8x16_t a = FN(four_of)(of->numbers[r] + k), b = FN(four_of)(of->numbers[r] + k + 4);
            int16x8_t low = vmull_s8(vget_low_s8(first), vget_low_s8(a));
            int16x8_t high = vmull_high_s8(first, a);
            low = vmlal_s8(low, vget_low_s8(second), vget_low_s8(b));
            high = vmlal_high_s8(high, second, b);
            of_two[r][v][0] = vpadalq_s16(of_two[r][v][0], low);
            of_two[r][v][1] = vpadalq_s16(of_two[r][v][1], high);
        }
    }
}

#else
INLINE void FN(channel_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int dots, const int rows, const int vectors,
    FN(ints) sums[][PANEL])
{
    (void)dots;
    for (int i = 0; i < 4; i++)
        for (int v = 0; v < vectors; v++)
            for (int r = 0; r < rows; r++)
                sums[r][v] += (of->codes[v][16 * k + i] - 128) * of->numbers[r][k + i];
}
#endif

/* What the codes add to the sums of a row, where they are multiplied as they are. */
INLINE int32_t FN(first_sum)(const struct quantised_row *row)
{
#if ISA == ISA_AVX2 || ISA == ISA_AVX512 || ISA == ISA_SSE2
    return -128 * row->sum;
#else
    (void)row;
    return 0;
#endif
}

INLINE void FN(channel_sums)(
    const struct FN(sides) *of, const struct quantised_row *const *x, ptrdiff_t inputs, const int dots,
    const int rows, const int vectors, FN(ints) sums[][PANEL])
{
#if ISA == ISA_NEON
    if (!dots) {
        int32x4_t of_two[4][2][2];
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                of_two[r][v][0] = of_two[r][v][1] = vdupq_n_s32(0);
        }
        for (ptrdiff_t k = 0; k < inputs; k += STEP(0))
            FN(pairs_step)(of, k, rows, vectors, of_two);
        UNROLL
        for (int r = 0; r < rows; r++) {
            UNROLL
            for (int v = 0; v < vectors; v++)
                sums[r][v] = (FN(ints))vpaddq_s32(of_two[r][v][0], of_two[r][v][1]);
        }
        return;
    }
#endif
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++)
            sums[r][v] = FN(set1_int)(FN(first_sum)(x[r]));
    }
    for (ptrdiff_t k = 0; k < inputs; k += STEP(dots))
        FN(channel_step)(of, k, dots, rows, vectors, sums);
}

/* A row's finished sums become floats. */
INLINE void FN(store_channels)(
    const struct product *p, ptrdiff_t row, ptrdiff_t column, float scale, FN(ints) whole)
{
    const int lanes = FN(lanes_from)(column, p->weights.outputs);
    const FN(vec) of_outputs = FN(to_float)(whole) * FN(load)(p->weights.scale_of_output + column, W);
    FN(vec) sums = FN(set1)(0.0f);
    if (p->addend)
        sums = FN(load)(p->addend + row * p->addend_stride + column, lanes);
    sums = FN(fma)(of_outputs, FN(set1)(scale), sums);
    if (p->bias)
        sums += FN(load)(p->bias + column, lanes);
    FN(store)(p->out + row * p->out_stride + column, sums, lanes);
}

/* Rows from `row` on, of which `left` are there, and `vectors` from `column` on. `x` has those rows, quantised
 * and `stride` floats apart. */
INLINE void FN(channel_tile)(
    const struct product *p, const float *x, ptrdiff_t stride, ptrdiff_t row, ptrdiff_t left,
    ptrdiff_t column, const int dots, const int rows, const int vectors)
{
    const ptrdiff_t panel = (p->weights.inputs + SHARED - 1) / SHARED * SHARED * SMALL_PANEL;
    const struct quantised_row *of_row[ROWS];
    struct FN(sides) of;
    FN(ints) sums[ROWS][PANEL];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const ptrdiff_t output = column + v * W;
        of.codes[v] = (const uint8_t *)p->weights.codes + output / SMALL_PANEL * panel + output % SMALL_PANEL * 4;
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        of_row[r] = (const struct quantised_row *)(x + (r < left ? r : left - 1) * stride);
        of.numbers[r] = (const int8_t *)(of_row[r] + 1);
    }
    FN(channel_sums)(&of, of_row, p->weights.inputs, dots, rows, vectors, sums);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= left)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++)
            FN(store_channels)(p, row + r, column + v * W, of_row[r]->scale, sums[r][v]);
    }
}

/* All rows of a block, and as many vectors of outputs as a tile may have. */
INLINE void FN(channel_rows)(
    const struct product *p, const float *x, ptrdiff_t stride, struct extent rows, ptrdiff_t column,
    const int dots, const int vectors)
{
    const int tall = CHANNEL_ROWS(dots);
    for (ptrdiff_t row = rows.begin; row < rows.end; row += tall, x += tall * stride) {
        if (rows.end - row == 1)
            FN(channel_tile)(p, x, stride, row, 1, column, dots, 1, vectors);
        else
            FN(channel_tile)(p, x, stride, row, rows.end - row, column, dots, tall, vectors);
    }
}

INLINE void FN(channel_columns)(
    const struct product *p, const float *x, ptrdiff_t stride, struct extent rows, struct extent columns,
    const int dots)
{
    const int wide = CHANNEL_VECTORS(dots);
    for (ptrdiff_t column = columns.begin; column < columns.end; column += wide * W) {
        const ptrdiff_t vectors = (columns.end - column + W - 1) / W;
        if (vectors == 1)
            FN(channel_rows)(p, x, stride, rows, column, dots, 1);
        else if (wide == 2 || vectors == 2)
            FN(channel_rows)(p, x, stride, rows, column, dots, 2);
#if PANEL == 4
        else if (vectors == 3)
            FN(channel_rows)(p, x, stride, rows, column, dots, 3);
        else
            FN(channel_rows)(p, x, stride, rows, column, dots, 4);
#endif
    }
}

/* A block of rows at a time is quantised, unless it was before. */
INLINE void FN(channel_product)(
    const struct product *p, struct extent rows, struct extent columns, const int dots)
{
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        const float *x = p->x + first * p->x_stride;
        ptrdiff_t stride = p->x_stride;
        if (!p->is_quantised) {
            FN(fill_with_whole)(p, block, SHORTS(dots));
            x = p->scratch;
            stride = floats_of_row(p->weights.inputs);
        }
        FN(channel_columns)(p, x, stride, block, columns, dots);
    }
}

#if HAS_DOTS
WITH_DOTS static void FN(product_per_channel_dots)(
    const struct product *p, struct extent rows, struct extent columns)
{
    FN(channel_product)(p, rows, columns, 1);
}
#endif

static void FN(product_per_channel)(const struct product *p, struct extent rows, struct extent columns)
{
#if HAS_DOTS
    if (has_dots) {
        FN(product_per_channel_dots)(p, rows, columns);
        return;
    }
#endif
    FN(channel_product)(p, rows, columns, 0);
}

/* Rows for products that find them quantised: all take them in the same form. */
static void FN(quantise_for)(
    const struct matrix *m, const float *x, ptrdiff_t x_stride, float *out, ptrdiff_t out_stride,
    struct extent rows)
{
    FN(quantise_whole_rows)(m, x, x_stride, out, out_stride, rows, SHORTS(HAS_DOTS && has_dots));
}
