/* Causal convolution and selective scan over one block of W neighbouring channels.
 *
 * Included once for each instruction set by _isa.h, after _simd.h. A vector holds W channels, so
 * there are no horizontal sums, B_t and C_t are broadcasts, and the token-major layout needs no
 * transposing. The state of a block stays in registers (or on the stack) from the first token to
 * the last. Channels do not depend on each other: whichever thread runs a block, its bits are the
 * same.
 *
 * Every array is float32. `step` is the distance in floats from one token to the next in the
 * direction of the scan: negative where time runs backwards, so nothing is ever flipped in memory.
 */

/* How many of the channels from this one on lie in its block. */
INLINE int FN(lanes_from)(ptrdiff_t channel, ptrdiff_t channels)
{
    return (int)(channels - channel < W ? channels - channel : W);
}

/* A parameter of every channel, zero where it is not given. */
INLINE FN(vec) FN(load_optional)(const float *from, ptrdiff_t channel, int lanes)
{
    return from ? FN(load)(from + channel, lanes) : FN(set1)(0.0f);
}

/* x - K + 1 .. x: a sliding window of K tokens, the oldest first, zeros before the first token. */
INLINE void FN(convolve)(const struct convolution *c, ptrdiff_t channel, int lanes, const int taps)
{
    FN(vec) weight[MAX_TAPS], window[MAX_TAPS];
    const FN(vec) bias = FN(load_optional)(c->bias, channel, lanes);
    for (int k = 0; k < taps; k++) {
        weight[k] = FN(load)(c->weight + k * c->channels + channel, lanes);
        window[k] = FN(set1)(0.0f);
    }
    const float *x = c->x + channel;
    float *out = c->out + channel;
    for (ptrdiff_t t = 0; t < c->length; t++, x += c->x_step, out += c->out_step) {
        for (int k = 0; k + 1 < taps; k++)
            window[k] = window[k + 1];
        window[taps - 1] = FN(load)(x, lanes);
        FN(vec) sum = bias;
        for (int k = 0; k < taps; k++)
            sum = FN(fma)(weight[k], window[k], sum);
        FN(store)(out, c->silu ? FN(silu)(sum) : sum, lanes);
    }
}

static void FN(convolve_block)(const struct convolution *c, ptrdiff_t channel)
{
    const int lanes = FN(lanes_from)(channel, c->channels);
    if (lanes == W && c->taps == 4) /* every published network */
        FN(convolve)(c, channel, W, 4);
    else
        FN(convolve)(c, channel, lanes, c->taps);
}

/* B or C of one token and state: one value for all channels, or constant over time with one each. */
INLINE FN(vec) FN(coefficient)(
    const float *values, ptrdiff_t at, int is_constant, int n, const struct scan *s,
    ptrdiff_t channel, int lanes)
{
    if (is_constant)
        return FN(load)(values + n * s->channels + channel, lanes);
    return FN(set1)(values[at + n]);
}

/* Delta of one token: the step size, with bias and softplus where they are asked for. */
INLINE FN(vec) FN(step_size)(const struct scan *s, const float *delta, FN(vec) bias, int lanes)
{
    FN(vec) step = FN(load)(delta, lanes) + bias;
    return s->delta_softplus ? FN(softplus)(step) : step;
}

/* Skip, sum of the directions, gate: what follows C . h, and the store. */
INLINE void FN(finish)(
    const struct scan *s, ptrdiff_t t, ptrdiff_t channel, int lanes, FN(vec) y, FN(vec) u, FN(vec) D)
{
    float *out = s->out + t * s->out_step + channel;
    y = FN(fma)(D, u, y);
    if (s->accumulate)
        y += FN(load)(out, lanes);
    if (s->z)
        y *= FN(silu)(FN(load)(s->z + t * s->z_step + channel, lanes));
    FN(store)(out, y * s->scale, lanes);
}

/* A, scaled so that exp(delta A) is exp2(delta A), and h_{-1} = 0. */
INLINE void FN(begin)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, FN(vec) *A, FN(vec) *h)
{
    for (int n = 0; n < d_state; n++) {
        A[n] = FN(load)(s->A + n * s->channels + channel, lanes) * LOG2_E;
        h[n] = FN(set1)(0.0f);
    }
}

INLINE void FN(store_last_state)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, const FN(vec) *h)
{
    if (s->last_state)
        for (int n = 0; n < d_state; n++)
            FN(store)(s->last_state + n * s->channels + channel, h[n], lanes);
}

/* h_t = exp(delta A) h_{t-1} + delta B u and y_t = C . h_t, token by token (Mamba, algorithm 2).
 * `constants` says whether B or C may be constant over time. */
INLINE void FN(scan_sequential)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, const int constants)
{
    FN(vec) A[MAX_STATES], h[MAX_STATES];
    const FN(vec) D = FN(load_optional)(s->D, channel, lanes);
    const FN(vec) bias = FN(load_optional)(s->delta_bias, channel, lanes);
    FN(begin)(s, channel, lanes, d_state, A, h);
    for (ptrdiff_t t = 0; t < s->length; t++) {
        const FN(vec) u = FN(load)(s->u + t * s->u_step + channel, lanes);
        const FN(vec) delta =
            FN(step_size)(s, s->delta + t * s->delta_step + channel, bias, lanes);
        const FN(vec) delta_u = delta * u;
        FN(vec) y = FN(set1)(0.0f);
        UNROLL_STATES
        for (int n = 0; n < d_state; n++) {
            const FN(vec) B = FN(coefficient)(
                s->B, t * s->B_step, constants && s->B_constant, n, s, channel, lanes);
            const FN(vec) C = FN(coefficient)(
                s->C, t * s->C_step, constants && s->C_constant, n, s, channel, lanes);
            h[n] = FN(fma)(FN(exp2)(delta * A[n]), h[n], delta_u * B);
            y = FN(fma)(C, h[n], y);
        }
        FN(finish)(s, t, channel, lanes, y, u, D);
    }
    FN(store_last_state)(s, channel, lanes, d_state, h);
}

/* The same in two stages: first the states of a run of tokens, then their outputs. The runs are
 * short enough that their states stay in the first-level cache. */
INLINE void FN(scan_fixlen)(const struct scan *s, ptrdiff_t channel, int lanes, const int d_state)
{
    FN(vec) A[MAX_STATES], states[STATES_IN_CACHE];
    const FN(vec) D = FN(load_optional)(s->D, channel, lanes);
    const FN(vec) bias = FN(load_optional)(s->delta_bias, channel, lanes);
    const int run = STATES_IN_CACHE / d_state;
    FN(vec) *h = states; /* the state before the current token */
    FN(begin)(s, channel, lanes, d_state, A, h);
    for (ptrdiff_t first = 0; first < s->length; first += run) {
        const ptrdiff_t end = first + run < s->length ? first + run : s->length;
        for (ptrdiff_t t = first; t < end; t++) {
            FN(vec) *next = states + (t - first) * d_state;
            const FN(vec) delta =
                FN(step_size)(s, s->delta + t * s->delta_step + channel, bias, lanes);
            const FN(vec) delta_u = delta * FN(load)(s->u + t * s->u_step + channel, lanes);
            for (int n = 0; n < d_state; n++) {
                const FN(vec) B = FN(coefficient)(
                    s->B, t * s->B_step, s->B_constant, n, s, channel, lanes);
                next[n] = FN(fma)(FN(exp2)(delta * A[n]), h[n], delta_u * B);
            }
            h = next;
        }
        for (ptrdiff_t t = first; t < end; t++) {
            const FN(vec) *now = states + (t - first) * d_state;
            FN(vec) y = FN(set1)(0.0f);
            for (int n = 0; n < d_state; n++) {
                const FN(vec) C = FN(coefficient)(
                    s->C, t * s->C_step, s->C_constant, n, s, channel, lanes);
                y = FN(fma)(C, now[n], y);
            }
            const FN(vec) u = FN(load)(s->u + t * s->u_step + channel, lanes);
            FN(finish)(s, t, channel, lanes, y, u, D);
        }
    }
    FN(store_last_state)(s, channel, lanes, d_state, h);
}

static void FN(scan_block)(const struct scan *s, ptrdiff_t channel)
{
    const int lanes = FN(lanes_from)(channel, s->channels);
    const int constants = s->B_constant || s->C_constant;
    if (s->fixlen)
        FN(scan_fixlen)(s, channel, lanes, s->d_state);
    else if (lanes == W && !constants && s->d_state == 16) /* every published network */
        FN(scan_sequential)(s, channel, W, 16, 0);
    else
        FN(scan_sequential)(s, channel, lanes, s->d_state, 1);
}

/* The functions of _simd.h on an array: what the tests of their accuracy call. */
static void FN(apply)(enum function function, const float *x, float *out, ptrdiff_t length)
{
    for (ptrdiff_t i = 0; i < length; i += W) {
        const int lanes = FN(lanes_from)(i, length);
        const FN(vec) value = FN(load)(x + i, lanes);
        FN(store)(out + i,
                  function == FUNCTION_EXP        ? FN(exp)(value)
                  : function == FUNCTION_SOFTPLUS ? FN(softplus)(value)
                                                  : FN(silu)(value),
                  lanes);
    }
}

static const struct kernels FN(kernels) = {W, FN(convolve_block), FN(scan_block), FN(apply)};
