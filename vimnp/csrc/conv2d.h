/* Depthwise convolution of a grid of tokens, with zeros around it, bias and SiLU.
 *
 * Included once for each instruction set by kernels.h. A vector holds W neighbouring channels. Taps that
 * lie outside the grid are left out, so nothing outside is read.
 */

/* The taps of a token's window that lie within the grid: lines and columns of the kernel. */
INLINE struct extent FN(taps_within)(ptrdiff_t place, ptrdiff_t size, ptrdiff_t kernel)
{
    const ptrdiff_t before = place - kernel / 2;
    return common((struct extent){0, kernel}, (struct extent){-before, size - before});
}

/* sum + weight * x, over these taps. The first tap of all would be on the token `corner`. */
INLINE FN(vec) FN(sum_of_taps)(
    const struct convolution_2d *c, const FN(vec) *weight, FN(vec) sum, ptrdiff_t corner,
    struct extent lines, struct extent columns, ptrdiff_t channel, int lanes, const ptrdiff_t kernel)
{
    for (ptrdiff_t i = lines.begin; i < lines.end; i++)
        for (ptrdiff_t j = columns.begin; j < columns.end; j++) {
            const float *from = c->x + (corner + i * c->width + j) * c->x_stride + channel;
            sum = FN(fma)(weight[i * kernel + j], FN(load)(from, lanes), sum);
        }
    return sum;
}

/* The same over every tap, of tokens beside each other whose windows are within the grid: in a loop of its
 * own the weights stay in registers. `x` is under the first one's first tap. */
INLINE void FN(sum_9_taps)(
    const struct convolution_2d *c, const FN(vec) *weight, FN(vec) bias, const float *x, FN(vec) *sums,
    int number, int lanes)
{
    const ptrdiff_t step = c->x_stride, line = c->width * step;
    FN(vec) taps[9];
    UNROLL
    for (int k = 0; k < 9; k++)
        taps[k] = weight[k];
    for (int t = 0; t < number; t++, x += step) {
        const float *from = x;
        FN(vec) sum = bias;
        UNROLL
        for (int i = 0; i < 3; i++, from += line) {
            UNROLL
            for (int j = 0; j < 3; j++)
                sum = FN(fma)(taps[3 * i + j], FN(load)(from + j * step, lanes), sum);
        }
        sums[t] = sum;
    }
}

/* `number` tokens from `first` on. */
INLINE void FN(convolve_tokens)(
    const struct convolution_2d *c, const FN(vec) *weight, FN(vec) bias, ptrdiff_t first, int number,
    ptrdiff_t channel, int lanes, const ptrdiff_t kernel)
{
    FN(vec) sums[CHUNK], divisors[CHUNK];
    const ptrdiff_t half = kernel / 2;
    ptrdiff_t y = first / c->width, x = first % c->width, corner = first - half * c->width - half;
    for (int t = 0, run; t < number; t += run, x += run, corner += run) {
        if (x == c->width) {
            x = 0;
            y++;
        }
        const int lines_fit = y >= half && y + half < c->height;
        run = kernel == 3 && lines_fit && x >= 1 ? FN(chunk_from)(x, c->width - 1, number - t) : 0;
        if (run > 0) {
            const float *from = c->x + corner * c->x_stride + channel;
            FN(sum_9_taps)(c, weight, bias, from, sums + t, run, lanes);
            continue;
        }
        run = 1;
        sums[t] = FN(sum_of_taps)(
            c, weight, bias, corner, FN(taps_within)(y, c->height, kernel),
            FN(taps_within)(x, c->width, kernel), channel, lanes, kernel);
    }
    if (c->silu && c->coarse)
        FN(coarse_silu_divisors)(sums, divisors, number);
    else if (c->silu)
        FN(silu_divisors)(sums, divisors, number);
    for (int t = 0; t < number; t++) {
        float *out = c->out + (first + t) * c->out_stride + channel;
        if (c->silu && c->coarse)
            FN(store)(out, FN(coarse_quotient)(sums[t], divisors[t]), lanes);
        else
            FN(store)(out, c->silu ? sums[t] / divisors[t] : sums[t], lanes);
    }
}

/* A vector of channels, of all tokens that are asked for. */
INLINE void FN(convolve_vector_2d)(
    const struct convolution_2d *c, ptrdiff_t channel, int lanes, const ptrdiff_t kernel)
{
    FN(vec) weight[MAX_KERNEL * MAX_KERNEL];
    for (ptrdiff_t k = 0; k < kernel * kernel; k++)
        weight[k] = FN(load)(c->weight + k * c->channels + channel, lanes);
    const FN(vec) bias = FN(load_optional)(c->bias, channel, lanes);
    for (ptrdiff_t first = c->tokens.begin; first < c->tokens.end; first += CHUNK)
        FN(convolve_tokens)(
            c, weight, bias, first, FN(chunk_from)(first, c->tokens.end, CHUNK), channel, lanes, kernel);
}

/* The channels from `begin` to `end`. */
static void FN(convolve_channels_2d)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct convolution_2d *c = task;
    for (ptrdiff_t channel = begin; channel < end; channel += W) {
        const int lanes = FN(lanes_from)(channel, end);
        if (lanes == W && c->kernel == 3) /* every published network */
            FN(convolve_vector_2d)(c, channel, W, 3);
        else
            FN(convolve_vector_2d)(c, channel, lanes, c->kernel);
    }
}
