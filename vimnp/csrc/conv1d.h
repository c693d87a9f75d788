/* Causal depthwise convolution, with bias and SiLU.
 *
 * Included once for each instruction set by kernels.h. A vector holds W neighbouring channels.
 */

/* The results for the tokens from `first` on, of which those before the first token or after the last
 * are none. */
INLINE void FN(store_chunk)(
    const struct convolution *c, const struct filter *filter, ptrdiff_t first, const FN(vec) *sums,
    int number, ptrdiff_t channel, int lanes)
{
    FN(vec) divisors[CHUNK];
    if (c->silu && c->coarse)
        FN(coarse_silu_divisors)(sums, divisors, number);
    else if (c->silu)
        FN(silu_divisors)(sums, divisors, number);
    for (int i = 0; i < number; i++) {
        const ptrdiff_t t = first + i;
        float *out = filter->out + t * filter->out_stride + channel;
        if (t < 0 || t >= c->length)
            continue;
        if (c->silu && c->coarse)
            FN(store)(out, FN(coarse_quotient)(sums[i], divisors[i]), lanes);
        else
            FN(store)(out, c->silu ? sums[i] / divisors[i] : sums[i], lanes);
    }
}

/* x, zero outside the sequence. */
INLINE FN(vec) FN(load_token)(
    const struct convolution *c, ptrdiff_t t, ptrdiff_t channel, int lanes)
{
    if (0 <= t && t < c->length)
        return FN(load)(c->x + t * c->x_stride + channel, lanes);
    return FN(set1)(0.0f);
}

/* The same, but before the sequence what the state holds, if there is one. */
INLINE FN(vec) FN(load_earlier_token)(
    const struct convolution *c, ptrdiff_t t, ptrdiff_t channel, int lanes)
{
    if (t < 0 && c->state)
        return FN(load)(c->state + (c->taps - 1 + t) * c->channels + channel, lanes);
    return FN(load_token)(c, t, channel, lanes);
}

/* The last inputs into the state. A sequence shorter than the state moves what it leaves of it to the
 * front: no row is written before it is read. */
INLINE void FN(store_last_inputs)(const struct convolution *c, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t row = 0; row < c->taps - 1; row++) {
        const ptrdiff_t t = c->length - (c->taps - 1) + row;
        const float *from = t < 0 ? c->state + (row + c->length) * c->channels : c->x + t * c->x_stride;
        memcpy(c->state + row * c->channels + begin, from + begin, sizeof(float) * (size_t)(end - begin));
    }
}

/* out[t] = silu(bias + sum_k weight[k] x[t - K + 1 + k]), in reverse time x[t + K - 1 - k].
 *
 * One window of K tokens slides over x: with x[t] as its newest it is what the forward filter needs
 * for token t, and what the backward filter needs for token t - K + 1. */
INLINE void FN(convolve_chunk)(
    const struct convolution *c, ptrdiff_t first, int number, ptrdiff_t channel, int lanes,
    const int taps, const int directions)
{
    FN(vec) weight[2][MAX_TAPS], bias[2], window[MAX_TAPS], forward[CHUNK], backward[CHUNK];
    for (int d = 0; d < directions; d++) {
        const struct filter *filter = &c->filters[d];
        bias[d] = FN(load_optional)(filter->bias, channel, lanes);
        for (int k = 0; k < taps; k++)
            weight[d][k] = FN(load)(filter->weight + k * c->channels + channel, lanes);
    }
    for (int k = 1; k < taps; k++)
        window[k] = FN(load_earlier_token)(c, first - taps + k, channel, lanes);
    for (int i = 0; i < number; i++) {
        for (int k = 0; k + 1 < taps; k++)
            window[k] = window[k + 1];
        window[taps - 1] = FN(load_token)(c, first + i, channel, lanes);
        forward[i] = bias[0];
        for (int k = 0; k < taps; k++)
            forward[i] = FN(fma)(weight[0][k], window[k], forward[i]);
        if (directions == 1)
            continue;
        backward[i] = bias[1];
        for (int k = 0; k < taps; k++)
            backward[i] = FN(fma)(weight[1][k], window[taps - 1 - k], backward[i]);
    }
    FN(store_chunk)(c, &c->filters[0], first, forward, number, channel, lanes);
    if (directions == 2)
        FN(store_chunk)(c, &c->filters[1], first - taps + 1, backward, number, channel, lanes);
}

/* The channels from `begin` to `end`. */
static void FN(convolve_channels)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct convolution *c = task;
    for (ptrdiff_t first = c->positions.begin; first < c->positions.end; first += CHUNK) {
        const int number = FN(chunk_from)(first, c->positions.end, CHUNK);
        for (ptrdiff_t channel = begin; channel < end; channel += W) {
            const int lanes = FN(lanes_from)(channel, end);
            if (lanes == W && c->taps == 4 && c->directions == 2) /* every published network */
                FN(convolve_chunk)(c, first, number, channel, W, 4, 2);
            else if (lanes == W && c->taps == 4)
                FN(convolve_chunk)(c, first, number, channel, W, 4, 1);
            else
                FN(convolve_chunk)(c, first, number, channel, lanes, c->taps, c->directions);
        }
    }
    if (c->state && c->positions.end == last_position(c))
        FN(store_last_inputs)(c, begin, end);
}
