/* Selective scan.
 *
 * Included once for each instruction set by kernels.h. A vector holds W neighbouring channels, so
 * there are no horizontal sums, B_t and C_t are broadcasts, and the token-major layout needs no
 * transposing.
 *
 * A chunk of tokens passes through three phases: delta, states, gate. The states of a token wait
 * for its delta, a chain of instructions as long as the CPU looks ahead; computed beforehand, it
 * keeps nothing waiting. Within a chunk, the states of W channels stay in registers. After it come the
 * next W channels, and then the next chunk: memory is read row by row, and no cache line twice.
 */

/* The same for the two-phase scan, which keeps them for each token of the chunk: 8 KB at most. */
#undef FIXLEN_STATES_AT_ONCE
#define FIXLEN_STATES_AT_ONCE (W > 4 ? 64 / W : STATES_AT_ONCE)

/* W channels of a chunk of tokens. */
struct FN(chunk) {
    ptrdiff_t first, channel;
    int length, lanes;
    const float *delta_of_first; /* delta of the first token */
    FN(vec) delta[CHUNK], y[CHUNK];
    FN(vec) room[CHUNK * FIXLEN_STATES_AT_ONCE]; /* for one phase after the other */
};

/* First phase: delta. */
INLINE void FN(softplus_of_delta)(const struct scan *s, struct FN(chunk) *chunk)
{
    const FN(vec) bias = FN(load_optional)(s->delta_bias, chunk->channel, chunk->lanes);
    for (int i = 0; i < chunk->length; i++) {
        const float *delta = chunk->delta_of_first + i * s->delta_stride + chunk->channel;
        chunk->delta[i] = FN(load)(delta, chunk->lanes) + bias;
    }
    if (s->delta_softplus)
        FN(softplus)(chunk->delta, chunk->room, chunk->length);
}

/* A of a state, scaled so that exp(delta A) is 2^(delta A). */
INLINE FN(vec) FN(load_A)(const struct scan *s, const struct FN(chunk) *chunk, int n)
{
    return FN(load)(s->A + n * s->channels + chunk->channel, chunk->lanes) * LOG2_E;
}

/* The largest absolute value of all states' A, NaN if one is infinite or NaN. */
INLINE FN(vec) FN(largest_A)(const struct scan *s, const struct FN(chunk) *chunk, int d_state)
{
    FN(vec) largest = FN(set1)(0.0f);
    for (int n = 0; n < d_state; n++) {
        const FN(vec) A = FN(load_A)(s, chunk, n);
        largest = FN(larger)(FN(larger)(A, -A), largest) + (A - A);
    }
    return largest;
}

/* Whether exp2_product may take every delta A. */
INLINE int FN(is_chunk_bounded)(const struct FN(chunk) *chunk, FN(vec) largest)
{
    int bounded = 1;
    for (int i = 0; i < chunk->length; i++)
        bounded &= FN(is_bounded)(chunk->delta[i], largest);
    return bounded;
}

/* exp(delta A) */
INLINE FN(vec) FN(decay)(FN(vec) delta, FN(vec) A, const int bounded)
{
    return bounded ? FN(exp2_product)(delta, A) : FN(exp2)(delta * A);
}

/* One of a token's numbers, of which so many are read one after the other; in every lane. */
INLINE FN(vec) FN(spread)(const float *values, int n, const int number)
{
#if ISA == ISA_NEON
    /* Products take a factor from a lane: then four numbers need one load, and no place for the copies. */
    if (__builtin_constant_p(number) && number % W == 0)
        return FN(set1)(FN(load)(values + n / W * W, W)[n % W]);
#endif
    (void)number;
    return FN(set1)(values[n]);
}

/* B or C of a token, which begins `at`, and of the n-th of `number` states from `first` on: one value for
 * all channels, or constant over time with one each. */
INLINE FN(vec) FN(coefficient)(
    const struct scan *s, const float *values, ptrdiff_t at, int is_constant, const int first, int n,
    const int number, const struct FN(chunk) *chunk)
{
    if (is_constant)
        return FN(load)(values + (first + n) * s->channels + chunk->channel, chunk->lanes);
    return FN(spread)(values + at + first, n, number);
}

INLINE FN(vec) FN(load_u)(const struct scan *s, ptrdiff_t t, const struct FN(chunk) *chunk)
{
    return FN(load)(s->u + t * s->u_stride + chunk->channel, chunk->lanes);
}

/* Second phase: h_t = exp(delta A) h_{t-1} + delta B u and y_t = C . h_t + D u, token by token (Mamba,
 * algorithm 2). So of `number` states from `first` on, to whose y those before have been added.
 * `constants` says whether B or C may be constant over time. */
INLINE void FN(advance)(
    const struct scan *s, struct FN(chunk) *chunk, const int first, const int number, const int constants,
    const int bounded, FN(vec) *state)
{
    const int B_constant = constants && s->B_constant, C_constant = constants && s->C_constant;
    const FN(vec) D = FN(load_optional)(s->D, chunk->channel, chunk->lanes);
    FN(vec) A[STATES_AT_ONCE], h[STATES_AT_ONCE]; /* in registers, if their number is known */
    for (int n = 0; n < number; n++) {
        A[n] = FN(load_A)(s, chunk, first + n);
        h[n] = state[first + n];
    }
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t t = chunk->first + i;
        const FN(vec) u = FN(load_u)(s, t, chunk);
        const FN(vec) delta = chunk->delta[i], delta_u = delta * u;
        FN(vec) y = first ? chunk->y[i] : D * u;
        UNROLL
        for (int n = 0; n < number; n++) {
            const FN(vec) B =
                FN(coefficient)(s, s->B, t * s->B_stride, B_constant, first, n, number, chunk);
            const FN(vec) C =
                FN(coefficient)(s, s->C, t * s->C_stride, C_constant, first, n, number, chunk);
            h[n] = FN(fma)(FN(decay)(delta, A[n], bounded), h[n], delta_u * B);
            y = FN(fma)(C, h[n], y);
        }
        chunk->y[i] = y;
    }
    for (int n = 0; n < number; n++)
        state[first + n] = h[n];
}

/* The same in two loops: these states of all tokens of the chunk, then what they give. */
INLINE void FN(advance_fixlen)(
    const struct scan *s, struct FN(chunk) *chunk, const int first, const int number, const int bounded,
    FN(vec) *state)
{
    const FN(vec) D = FN(load_optional)(s->D, chunk->channel, chunk->lanes);
    FN(vec) A[FIXLEN_STATES_AT_ONCE], *states = chunk->room;
    const FN(vec) *before = state + first;
    for (int n = 0; n < number; n++)
        A[n] = FN(load_A)(s, chunk, first + n);
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t t = chunk->first + i;
        const FN(vec) u = FN(load_u)(s, t, chunk);
        const FN(vec) delta = chunk->delta[i], delta_u = delta * u;
        FN(vec) *now = states + i * number;
        for (int n = 0; n < number; n++) {
            const FN(vec) B =
                FN(coefficient)(s, s->B, t * s->B_stride, s->B_constant, first, n, number, chunk);
            now[n] = FN(fma)(FN(decay)(delta, A[n], bounded), before[n], delta_u * B);
        }
        before = now;
    }
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t t = chunk->first + i;
        FN(vec) y = first ? chunk->y[i] : D * FN(load_u)(s, t, chunk);
        for (int n = 0; n < number; n++) {
            const FN(vec) C =
                FN(coefficient)(s, s->C, t * s->C_stride, s->C_constant, first, n, number, chunk);
            y = FN(fma)(C, states[i * number + n], y);
        }
        chunk->y[i] = y;
    }
    for (int n = 0; n < number; n++)
        state[first + n] = before[n];
}

/* The second phase of all states, some at a time: the stack of a thread may be small. */
INLINE void FN(advance_all)(
    const struct scan *s, struct FN(chunk) *chunk, const int d_state, const int constants,
    const int bounded, FN(vec) *state)
{
    if (!s->fixlen && d_state == STATES_AT_ONCE) {
        FN(advance)(s, chunk, 0, STATES_AT_ONCE, constants, bounded, state);
        return;
    }
    const int most = s->fixlen ? FIXLEN_STATES_AT_ONCE : STATES_AT_ONCE;
    for (int first = 0; first < d_state; first += most) {
        const int number = d_state - first < most ? d_state - first : most;
        if (!s->fixlen)
            FN(advance)(s, chunk, first, number, constants, bounded, state);
        else if (number == FIXLEN_STATES_AT_ONCE)
            FN(advance_fixlen)(s, chunk, first, FIXLEN_STATES_AT_ONCE, bounded, state);
        else
            FN(advance_fixlen)(s, chunk, first, number, bounded, state);
    }
}

/* Third phase: sum of the directions, gate, and the store. */
INLINE void FN(gate_and_store)(const struct scan *s, struct FN(chunk) *chunk)
{
    FN(vec) *z = chunk->room, *divisors = chunk->room + CHUNK;
    if (s->z) {
        for (int i = 0; i < chunk->length; i++)
            z[i] = FN(load)(s->z + (chunk->first + i) * s->z_stride + chunk->channel, chunk->lanes);
        FN(silu_divisors)(z, divisors, chunk->length);
    }
    for (int i = 0; i < chunk->length; i++) {
        float *out = s->out + (chunk->first + i) * s->out_stride + chunk->channel;
        FN(vec) y = chunk->y[i];
        if (s->accumulate)
            y += FN(load)(out, chunk->lanes);
        if (s->z)
            y *= z[i] / divisors[i];
        FN(store)(out, y * s->scale, chunk->lanes);
    }
}

/* All three, in each case with constants of its own, so that the loops over tokens hold no choice. */
INLINE void FN(scan_chunk)(
    const struct scan *s, struct FN(chunk) *chunk, const int d_state, const int constants,
    FN(vec) *state)
{
    FN(softplus_of_delta)(s, chunk);
    if (FN(is_chunk_bounded)(chunk, FN(largest_A)(s, chunk, d_state)))
        FN(advance_all)(s, chunk, d_state, constants, 1, state);
    else
        FN(advance_all)(s, chunk, d_state, constants, 0, state);
    FN(gate_and_store)(s, chunk);
}

/* h_{-1} */
INLINE void FN(load_initial_state)(
    const struct scan *s, ptrdiff_t begin, ptrdiff_t end, FN(vec) *state)
{
    for (ptrdiff_t channel = begin; channel < end; channel += W)
        for (int n = 0; n < s->d_state; n++, state++)
            *state = s->initial_state
                         ? FN(load)(
                               s->initial_state + n * s->channels + channel,
                               FN(lanes_from)(channel, end))
                         : FN(set1)(0.0f);
}

INLINE void FN(store_last_state)(
    const struct scan *s, ptrdiff_t begin, ptrdiff_t end, const FN(vec) *state)
{
    for (ptrdiff_t channel = begin; channel < end; channel += W)
        for (int n = 0; n < s->d_state; n++, state++) {
            float *to = s->last_state + n * s->channels + channel;
            FN(store)(to, *state, FN(lanes_from)(channel, end));
        }
}

/* delta of a chunk, given or projected now: it is still in the cache when it is read. */
INLINE const float *FN(delta_of_chunk)(
    const struct scan *s, const struct FN(chunk) *chunk, ptrdiff_t begin, ptrdiff_t end)
{
    if (s->dt_proj.weights.inputs == 0)
        return s->delta + chunk->first * s->delta_stride;
    struct product dt_proj = s->dt_proj;
    dt_proj.x += chunk->first * dt_proj.x_stride;
    FN(product)(&dt_proj, (struct extent){0, chunk->length}, (struct extent){begin, end});
    return s->delta;
}

/* One direction of the channels from `begin` to `end`. */
static void FN(scan_direction)(const struct scan *s, ptrdiff_t begin, ptrdiff_t end)
{
    FN(vec) states[STATES / W];
    FN(load_initial_state)(s, begin, end, states);
    struct FN(chunk) chunk;
    for (chunk.first = 0; chunk.first < s->length; chunk.first += CHUNK) {
        chunk.length = FN(chunk_from)(chunk.first, s->length, CHUNK);
        chunk.delta_of_first = FN(delta_of_chunk)(s, &chunk, begin, end);
        FN(vec) *state = states;
        for (chunk.channel = begin; chunk.channel < end; chunk.channel += W, state += s->d_state) {
            chunk.lanes = FN(lanes_from)(chunk.channel, end);
            if (chunk.lanes == W && s->d_state == 16 && !s->B_constant && !s->C_constant)
                FN(scan_chunk)(s, &chunk, 16, 0, state); /* every published network */
            else
                FN(scan_chunk)(s, &chunk, s->d_state, 1, state);
        }
    }
    if (s->last_state)
        FN(store_last_state)(s, begin, end, states);
}

/* The channels from `begin` to `end`, as many at once as there is room for their states. */
static void FN(scan_channels)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct scans *scans = task;
    const ptrdiff_t most = STATES / scans->of_direction->d_state / W * W;
    for (; begin < end; begin += most)
        for (int i = 0; i < scans->directions; i++)
            FN(scan_direction)(&scans->of_direction[i], begin, begin + most < end ? begin + most : end);
}
