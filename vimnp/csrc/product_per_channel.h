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
    const char *ahead; /* the tile's share of the next codes: see ahead.h */
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

/* Adds numbers of a row, times the codes of each output, to the row's sums: two neighbours of 16 bits, or four
 * of 8. By their names: left to itself, gcc makes many products before it adds them up, and has no registers
 * for them, and it copies and spills around its own function for vpdpbusd. */
#if ISA == ISA_AVX2
#define FACTOR "%%ymm14"
#define PRODUCT "%%ymm15"
#define OCCUPIED "xmm14", "xmm15"
#elif ISA == ISA_AVX512
#define FACTOR "%%zmm30"
#define PRODUCT "%%zmm31"
#define OCCUPIED "xmm30", "xmm31"
#endif
INLINE void FN(add_products)(
    FN(ints) *sums, const int8_t *numbers, const FN(ints) *codes, const int vectors)
{
#if ISA == ISA_SSE2 || (ISA == ISA_AVX512 && VIMNP_IMITATED)
    const FN(ints) every = FN(every_output)(numbers);
    UNROLL
    for (int v = 0; v < vectors; v++) {
#if ISA == ISA_SSE2
        sums[v] += (FN(ints))_mm_madd_epi16((__m128i)every, (__m128i)codes[v]);
#else
        sums[v] += (FN(ints))_mm512_madd_epi16((__m512i)every, (__m512i)codes[v]);
#endif
        SETTLE(sums[v]);
    }
#else
    UNROLL
    for (int v = 0; v < vectors; v += 2) {
        const int pair = v + 1 < vectors;
        if (pair)
            __asm__("vpbroadcastd %2, " FACTOR "\n\t"
                    "vpmaddwd %3, " FACTOR ", " PRODUCT "\n\t"
                    "vpmaddwd %4, " FACTOR ", " FACTOR "\n\t"
                    "vpaddd " PRODUCT ", %0, %0\n\t"
                    "vpaddd " FACTOR ", %1, %1"
                    : "+v"(sums[v]), "+v"(sums[v + 1])
                    : "m"(*(const int32_t *)numbers), "v"(codes[v]), "v"(codes[v + 1])
                    : OCCUPIED);
        else
            __asm__("vpbroadcastd %1, " FACTOR "\n\t"
                    "vpmaddwd %2, " FACTOR ", " FACTOR "\n\t"
                    "vpaddd " FACTOR ", %0, %0"
                    : "+v"(sums[v])
                    : "m"(*(const int32_t *)numbers), "v"(codes[v])
                    : OCCUPIED);
    }
#endif
}
#undef FACTOR
#undef PRODUCT
#undef OCCUPIED

/* Of four inputs. Codes are 128 more than the weights: what that adds was taken off before. */
INLINE void FN(channel_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int dots, const int rows, const int vectors,
    FN(ints) sums[][PANEL])
{
#if HAS_DOTS
    if (dots) {
        FN(ints) four[PANEL];
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const uint8_t *from = of->codes[v] + 16 * k;
            READ_AFTER(from, sums[rows - 1][v]);
            memcpy(&four[v], from, sizeof four[v]);
        }
        UNROLL
        for (int r = 0; r < rows; r++) {
            const FN(ints) numbers = FN(every_output)(of->numbers[r] + k);
            UNROLL
            for (int v = 0; v < vectors; v++)
                ADD_DOT(sums[r][v], four[v], numbers);
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
        for (int r = 0; r < rows; r++)
            FN(add_products)(sums[r], of->numbers[r] + 2 * k + 4 * second, codes, vectors);
    }
}

#elif ISA == ISA_NEON
INLINE int8x16_t FN(weights_of)(const uint8_t *codes)
{
    return vreinterpretq_s8_u8(veorq_u8(vld1q_u8(codes), vdupq_n_u8(128)));
}

/* Of a vector of outputs, the line of codes that is multiplied with the numbers of that lane, to the sums of
 * all five rows together: left to itself, gcc reads many lines before, and has no registers for them. */
#define ADD_LINE(lane)                                                                               \
    do {                                                                                             \
        READ_AFTER(from, sums[0][lane || !v ? v : v - 1]);                                           \
        const int8x16_t line = FN(weights_of)(from + 64 * lane);                                     \
        __asm__("sdot %0.4s, %5.16b, %6.4b[" #lane "]\n\tsdot %1.4s, %5.16b, %7.4b[" #lane "]\n\t"    \
                "sdot %2.4s, %5.16b, %8.4b[" #lane "]\n\tsdot %3.4s, %5.16b, %9.4b[" #lane "]\n\t"    \
                "sdot %4.4s, %5.16b, %10.4b[" #lane "]"                                              \
                : "+w"(sums[0][v]), "+w"(sums[1][v]), "+w"(sums[2][v]), "+w"(sums[3][v]),            \
                  "+w"(sums[4][v])                                                                   \
                : "w"(line), "w"(q[0]), "w"(q[1]), "w"(q[2]), "w"(q[3]), "w"(q[4]));                 \
    } while (0)

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
        ADD_LINE(0);
        ADD_LINE(1);
        ADD_LINE(2);
        ADD_LINE(3);
    }
}
#undef ADD_LINE

/* Two sums of each of two outputs. */
INLINE void FN(pairs_step)(
    const struct FN(sides) *of, ptrdiff_t k, const int rows, const int vectors, int32x4_t of_two[][PANEL][2])
{
    int8x16_t first[PANEL], second[PANEL];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        first[v] = FN(weights_of)(of->codes[v] + 16 * k);
        second[v] = FN(weights_of)(of->codes[v] + 16 * k + 64);
    }
    UNROLL
    for (int r = 0; r < rows; r++) {
        const int8_t *from = of->numbers[r] + k;
        if (r)
            READ_AFTER(from, of_two[r - 1][vectors - 1][1]);
        const int8x16_t a = FN(four_of)(from), b = FN(four_of)(from + 4);
        UNROLL
        for (int v = 0; v < vectors; v++) {
            int16x8_t low = vmull_s8(vget_low_s8(first[v]), vget_low_s8(a));
            int16x8_t high = vmull_high_s8(first[v], a);
            low = vmlal_s8(low, vget_low_s8(second[v]), vget_low_s8(b));
            high = vmlal_high_s8(high, second[v], b);
            of_two[r][v][0] = vpadalq_s16(of_two[r][v][0], low);
            of_two[r][v][1] = vpadalq_s16(of_two[r][v][1], high);
            SETTLE(of_two[r][v][1]);
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
        int32x4_t of_two[ROWS][PANEL][2];
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
        for (int v = 0; v < vectors; v++) {
            sums[r][v] = FN(set1_int)(FN(first_sum)(x[r]));
            SETTLE(sums[r][v]); /* where it is the same for all, gcc would keep them in copies */
        }
    }
    for (ptrdiff_t k = 0; k < inputs; k += STEP(dots)) {
        fetch_share(of->ahead, k, CHANNEL_VECTORS(dots) * W);
        FN(channel_step)(of, k, dots, rows, vectors, sums);
    }
}

/* What a row's sums of some outputs come to. */
INLINE FN(vec) FN(scaled_sums)(
    const struct product *p, ptrdiff_t row, ptrdiff_t column, float scale, FN(ints) whole, int lanes)
{
    const FN(vec) of_outputs = FN(to_float)(whole) * FN(load)(p->weights.scale_of_output + column, W);
    FN(vec) sums = FN(set1)(0.0f);
    if (p->addend)
        sums = FN(load)(p->addend + row * p->addend_stride + column, lanes);
    sums = FN(fma)(of_outputs, FN(set1)(scale), sums);
    if (p->bias)
        sums += FN(load)(p->bias + column, lanes);
    return sums;
}

/* Where the codes of an output begin. */
INLINE const uint8_t *FN(channel_codes)(const struct matrix *m, ptrdiff_t output)
{
    const ptrdiff_t panel = (m->inputs + SHARED - 1) / SHARED * SHARED * SMALL_PANEL;
    return (const uint8_t *)m->codes + output / SMALL_PANEL * panel + output % SMALL_PANEL * 4;
}

/* Rows from `row` on, of which `left` are there, and `vectors` from `column` on. `x` has those rows, quantised
 * and `stride` floats apart. */
INLINE void FN(channel_tile)(
    const struct product *p, const float *x, ptrdiff_t stride, ptrdiff_t row, ptrdiff_t left,
    ptrdiff_t column, const char *ahead, const int dots, const int rows, const int vectors)
{
    const struct quantised_row *of_row[ROWS];
    struct FN(sides) of;
    FN(ints) sums[ROWS][PANEL];
    of.ahead = ahead;
    UNROLL
    for (int v = 0; v < vectors; v++)
        of.codes[v] = FN(channel_codes)(&p->weights, column + v * W);
    UNROLL
    for (int r = 0; r < rows; r++) {
        of_row[r] = (const struct quantised_row *)(x + (r < left ? r : left - 1) * stride);
        of.numbers[r] = (const int8_t *)(of_row[r] + 1);
    }
    FN(channel_sums)(&of, of_row, p->weights.inputs, dots, rows, vectors, sums);
    FN(vec) values[ROWS * PANEL];
    const int there = left < rows ? (int)left : rows;
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= there)
            break;
        UNROLL
        for (int v = 0; v < vectors; v++) {
            const int lanes = FN(lanes_from)(column + v * W, p->weights.outputs);
            values[r * vectors + v] = FN(scaled_sums)(
                p, row + r, column + v * W, of_row[r]->scale, sums[r][v], lanes);
        }
    }
    if (p->activation != ACTIVATION_NONE)
        FN(activate_tile)(values, there * vectors, p->activation);
    UNROLL
    for (int r = 0; r < rows; r++) {
        if (r >= there)
            break;
        float *out = p->out + (row + r) * p->out_stride + column;
        UNROLL
        for (int v = 0; v < vectors; v++)
            FN(store)(out + v * W, values[r * vectors + v], FN(lanes_from)(column + v * W, p->weights.outputs));
    }
}

INLINE void FN(channel_rows)(
    const struct product *p, const float *x, ptrdiff_t stride, struct extent rows, ptrdiff_t column,
    const int dots, const int tall, const int vectors)
{
    const char *ahead = (const char *)FN(channel_codes)(&p->weights, column + vectors * W);
    for (ptrdiff_t row = rows.begin; row < rows.end; row += tall, x += tall * stride) {
        FN(channel_tile)(p, x, stride, row, rows.end - row, column, ahead, dots, tall, vectors);
        ahead = after_share(ahead, p->weights.inputs, CHANNEL_VECTORS(dots) * W);
    }
}

/* All rows of a block, and as many vectors of outputs as a tile may have. Each number of vectors is a function
 * by itself: of all together gcc keeps some sums in memory. */
#undef ROWS_OF_VECTORS
#define ROWS_OF_VECTORS(name, dots, vectors)                                                            \
    NOINLINE void FN(name)(                                                                             \
        const struct product *p, const float *x, ptrdiff_t stride, struct extent rows, ptrdiff_t column) \
    {                                                                                                   \
        FN(channel_rows)(p, x, stride, rows, column, dots, CHANNEL_ROWS(dots), vectors);                \
    }

ROWS_OF_VECTORS(channel_rows_1, 0, 1)
ROWS_OF_VECTORS(channel_rows_2, 0, 2)
#if CHANNEL_VECTORS(0) == 4
ROWS_OF_VECTORS(channel_rows_3, 0, 3)
ROWS_OF_VECTORS(channel_rows_4, 0, 4)
#endif
#if HAS_DOTS
WITH_DOTS ROWS_OF_VECTORS(dots_rows_1, 1, 1)
WITH_DOTS ROWS_OF_VECTORS(dots_rows_2, 1, 2)
#if CHANNEL_VECTORS(1) == 4
WITH_DOTS ROWS_OF_VECTORS(dots_rows_3, 1, 3)
WITH_DOTS ROWS_OF_VECTORS(dots_rows_4, 1, 4)
#endif
#endif

static void FN(channel_vectors)(
    const struct product *p, const float *x, ptrdiff_t stride, struct extent rows, ptrdiff_t column, int dots,
    int vectors)
{
#if HAS_DOTS
    if (dots)
        switch (vectors) {
        case 1: FN(dots_rows_1)(p, x, stride, rows, column); return;
        case 2: FN(dots_rows_2)(p, x, stride, rows, column); return;
#if CHANNEL_VECTORS(1) == 4
        case 3: FN(dots_rows_3)(p, x, stride, rows, column); return;
        case 4: FN(dots_rows_4)(p, x, stride, rows, column); return;
#endif
        }
#endif
    switch (vectors) {
    case 1: FN(channel_rows_1)(p, x, stride, rows, column); break;
    case 2: FN(channel_rows_2)(p, x, stride, rows, column); break;
#if CHANNEL_VECTORS(0) == 4
    case 3: FN(channel_rows_3)(p, x, stride, rows, column); break;
    case 4: FN(channel_rows_4)(p, x, stride, rows, column); break;
#endif
    }
}

/* A block of rows at a time is quantised, unless it was before. */
static void FN(channel_product)(
    const struct product *p, struct extent rows, struct extent columns, const int dots)
{
    const int wide = CHANNEL_VECTORS(dots) * W;
    for (ptrdiff_t first = rows.begin; first < rows.end; first += ROWS_AT_ONCE) {
        const struct extent block = common(rows, (struct extent){first, first + ROWS_AT_ONCE});
        const float *x = p->x + first * p->x_stride;
        ptrdiff_t stride = p->x_stride;
        if (!p->is_quantised) {
            FN(fill_with_whole)(p, block, SHORTS(dots));
            x = p->scratch;
            stride = floats_of_row(p->weights.inputs);
        }
        for (ptrdiff_t column = columns.begin; column < columns.end; column += wide) {
            const struct extent some = common(columns, (struct extent){column, column + wide});
            FN(channel_vectors)(p, x, stride, block, column, dots, (int)((some.end - column + W - 1) / W));
        }
    }
}

static void FN(product_per_channel)(const struct product *p, struct extent rows, struct extent columns)
{
    FN(channel_product)(p, rows, columns, HAS_DOTS && p->weights.dots);
}

/* Rows for products that find them quantised: all take them in the same form. */
static void FN(quantise_for)(
    const struct matrix *m, const float *x, ptrdiff_t x_stride, float *out, ptrdiff_t out_stride,
    struct extent rows)
{
    FN(quantise_whole_rows)(m, x, x_stride, out, out_stride, rows, SHORTS(HAS_DOTS && m->dots));
}
