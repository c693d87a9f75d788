/* Selective scan over one block of W neighbouring channels.
 *
 * Included once for each instruction set by _kernels.h. A vector holds W channels, so there are no
 * horizontal sums, B_t and C_t are broadcasts, and the token-major layout needs no transposing. The
 * state of a block stays in registers (or on the stack) from the first token to the last.
 *
 * A run of tokens passes through three stages: step sizes, states, gate. The states of a token wait
 * for its step size, a chain of instructions as long as the CPU looks ahead; computed beforehand, it
 * keeps nothing waiting (one token at a time took AVX-512 1.3 and SSE2 1.5 times as long).
 */

/* A run of tokens between the stages. */
struct FN(run) {
    ptrdiff_t first;
    int length;
    FN(vec) delta[RUN], y[RUN];
};

/* What the channels of a block have for all tokens. */
struct FN(constants) {
    FN(vec) D, delta_bias;
    FN(vec) reach; /* the largest |A|, scaled as A is; NaN if one is infinite or NaN */
};

/* A, scaled so that exp(delta A) is 2^(delta A), and h_{-1} = 0. */
INLINE struct FN(constants) FN(begin_scan)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, FN(vec) *A, FN(vec) *h)
{
    struct FN(constants) of_block;
    of_block.D = FN(load_optional)(s->D, channel, lanes);
    of_block.delta_bias = FN(load_optional)(s->delta_bias, channel, lanes);
    of_block.reach = FN(set1)(0.0f);
    for (int n = 0; n < d_state; n++) {
        A[n] = FN(load)(s->A + n * s->channels + channel, lanes) * LOG2_E;
        h[n] = FN(set1)(0.0f);
        of_block.reach = FN(larger)(FN(larger)(A[n], -A[n]), of_block.reach) + (A[n] - A[n]);
    }
    return of_block;
}

/* First stage: delta. Returns whether exp2_product may take every delta A. */
INLINE int FN(begin_run)(
    const struct scan *s, ptrdiff_t channel, int lanes, const struct FN(constants) *of_block,
    struct FN(run) *run)
{
    for (int i = 0; i < run->length; i++) {
        const float *delta = s->delta + (run->first + i) * s->delta_step + channel;
        run->delta[i] = FN(load)(delta, lanes) + of_block->delta_bias;
    }
    if (s->delta_softplus)
        FN(softplus)(run->delta, run->length);
    int bounded = 1;
    for (int i = 0; i < run->length; i++)
        bounded &= FN(is_bounded)(run->delta[i], of_block->reach);
    return bounded;
}

/* exp(delta A) */
INLINE FN(vec) FN(decay)(FN(vec) delta, FN(vec) A, const int bounded)
{
    return bounded ? FN(exp2_product)(delta, A) : FN(exp2)(delta * A);
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

/* Second stage: h_t = exp(delta A) h_{t-1} + delta B u and y_t = C . h_t + D u, token by token (Mamba,
 * algorithm 2). `constants` says whether B or C may be constant over time. */
INLINE void FN(advance)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, const int constants,
    const int bounded, FN(vec) D, const FN(vec) *A, FN(vec) *h, struct FN(run) *run)
{
    for (int i = 0; i < run->length; i++) {
        const ptrdiff_t t = run->first + i;
        const FN(vec) u = FN(load)(s->u + t * s->u_step + channel, lanes);
        const FN(vec) delta = run->delta[i], delta_u = delta * u;
        FN(vec) y = D * u;
        UNROLL_STATES
        for (int n = 0; n < d_state; n++) {
            const FN(vec) B = FN(coefficient)(
                s->B, t * s->B_step, constants && s->B_constant, n, s, channel, lanes);
            const FN(vec) C = FN(coefficient)(
                s->C, t * s->C_step, constants && s->C_constant, n, s, channel, lanes);
            h[n] = FN(fma)(FN(decay)(delta, A[n], bounded), h[n], delta_u * B);
            y = FN(fma)(C, h[n], y);
        }
        run->y[i] = y;
    }
}

/* The same in two steps: the states of all tokens of the run, then their outputs. */
INLINE void FN(advance_fixlen)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, const int bounded,
    FN(vec) D, const FN(vec) *A, FN(vec) *h, struct FN(run) *run)
{
    FN(vec) states[STATES_IN_CACHE];
    const FN(vec) *before = h;
    for (int i = 0; i < run->length; i++) {
        const ptrdiff_t t = run->first + i;
        FN(vec) *now = states + i * d_state;
        const FN(vec) u = FN(load)(s->u + t * s->u_step + channel, lanes);
        const FN(vec) delta = run->delta[i], delta_u = delta * u;
        run->y[i] = D * u;
        for (int n = 0; n < d_state; n++) {
            const FN(vec) B =
                FN(coefficient)(s->B, t * s->B_step, s->B_constant, n, s, channel, lanes);
            now[n] = FN(fma)(FN(decay)(delta, A[n], bounded), before[n], delta_u * B);
        }
        before = now;
    }
    for (int i = 0; i < run->length; i++) {
        const ptrdiff_t t = run->first + i;
        for (int n = 0; n < d_state; n++) {
            const FN(vec) C =
                FN(coefficient)(s->C, t * s->C_step, s->C_constant, n, s, channel, lanes);
            run->y[i] = FN(fma)(C, states[i * d_state + n], run->y[i]);
        }
    }
    for (int n = 0; n < d_state; n++)
        h[n] = before[n];
}

/* Third stage: sum of the directions, gate, and the store. */
INLINE void FN(finish_run)(
    const struct scan *s, ptrdiff_t channel, int lanes, const struct FN(run) *run)
{
    FN(vec) gate[RUN];
    if (s->z) {
        for (int i = 0; i < run->length; i++)
            gate[i] = FN(load)(s->z + (run->first + i) * s->z_step + channel, lanes);
        FN(silu)(gate, run->length);
    }
    for (int i = 0; i < run->length; i++) {
        float *out = s->out + (run->first + i) * s->out_step + channel;
        FN(vec) y = run->y[i];
        if (s->accumulate)
            y += FN(load)(out, lanes);
        if (s->z)
            y *= gate[i];
        FN(store)(out, y * s->scale, lanes);
    }
}

INLINE void FN(scan)(
    const struct scan *s, ptrdiff_t channel, int lanes, const int d_state, const int constants,
    const int fixlen)
{
    FN(vec) A[MAX_STATES], h[MAX_STATES];
    const struct FN(constants) of_block = FN(begin_scan)(s, channel, lanes, d_state, A, h);
    const int longest = fixlen && STATES_IN_CACHE / d_state < RUN ? STATES_IN_CACHE / d_state : RUN;
    struct FN(run) run;
    for (run.first = 0; run.first < s->length; run.first += longest) {
        const ptrdiff_t left = s->length - run.first;
        run.length = left < longest ? (int)left : longest;
        const int bounded = FN(begin_run)(s, channel, lanes, &of_block, &run);
        /* Each case with a constant of its own, so that the loops over tokens hold no choice. */
        if (fixlen && bounded)
            FN(advance_fixlen)(s, channel, lanes, d_state, 1, of_block.D, A, h, &run);
        else if (fixlen)
            FN(advance_fixlen)(s, channel, lanes, d_state, 0, of_block.D, A, h, &run);
        else if (bounded)
            FN(advance)(s, channel, lanes, d_state, constants, 1, of_block.D, A, h, &run);
        else
            FN(advance)(s, channel, lanes, d_state, constants, 0, of_block.D, A, h, &run);
        FN(finish_run)(s, channel, lanes, &run);
    }
    if (s->last_state)
        for (int n = 0; n < d_state; n++)
            FN(store)(s->last_state + n * s->channels + channel, h[n], lanes);
}

static void FN(scan_block)(const struct scan *s, ptrdiff_t channel)
{
    const int lanes = FN(lanes_from)(channel, s->channels);
    const int constants = s->B_constant || s->C_constant;
    if (s->fixlen)
        FN(scan)(s, channel, lanes, s->d_state, 1, 1);
    else if (lanes == W && !constants && s->d_state == 16) /* every published network */
        FN(scan)(s, channel, W, 16, 0, 0);
    else
        FN(scan)(s, channel, lanes, s->d_state, 1, 0);
}
