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
 *
 * A scan may have a walk (walk.h). Then each chunk finds out once in which rows its tokens are, and the rest is
 * the same. `walks` is constant wherever it stands: a scan of row after row has nothing of it. So is `coarse`,
 * which takes the functions of coarse.h in the place of those of exp.h.
 *
 * Where a sequence is cut into scans that each go on from the last state of the one before, its bits
 * are those of a single scan: what is decided, such as by which exp2, is decided for a token by itself.
 */

/* The same for the two-phase scan, which keeps them for each token of the chunk: 8 KB at most. */
#undef FIXLEN_STATES_AT_ONCE
#define FIXLEN_STATES_AT_ONCE (W > 4 ? 64 / W : STATES_AT_ONCE)

/* W channels of a chunk of tokens. */
struct FN(chunk) {
    ptrdiff_t first, channel;
    int length, lanes;
    ptrdiff_t rows[CHUNK];       /* of its tokens, if the scan has a walk */
    const float *delta_of_first; /* delta of the first token, or with a walk of the first row */
    /* The states before and after it, which may be the same memory; floats from one to the next. */
    const float *before;
    float *after;
    ptrdiff_t before_stride, after_stride;
    FN(vec) largest_A, delta[CHUNK], y[CHUNK];
    FN(vec) room[(1 + CHUNK) * FIXLEN_STATES_AT_ONCE]; /* for one phase after the other */
};

/* The row of a token's arrays. */
INLINE ptrdiff_t FN(row)(const struct FN(chunk) *chunk, int i, const int walks)
{
    return walks ? chunk->rows[i] : chunk->first + i;
}

/* First phase: delta. */
INLINE void FN(softplus_of_delta)(
    const struct scan *s, struct FN(chunk) *chunk, const int walks, const int coarse)
{
    const int is_at_its_place = walks && s->dt_proj.weights.inputs == 0;
    const FN(vec) bias = FN(load_optional)(s->delta_bias, chunk->channel, chunk->lanes);
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t row = is_at_its_place ? chunk->rows[i] : i;
        const float *delta = chunk->delta_of_first + row * s->delta_stride + chunk->channel;
        chunk->delta[i] = FN(load)(delta, chunk->lanes) + bias;
    }
    if (s->delta_softplus && coarse)
        FN(coarse_softplus)(chunk->delta, chunk->room, chunk->length);
    else if (s->delta_softplus)
        FN(softplus)(chunk->delta, chunk->room, chunk->length);
}

/* A of a state, scaled so that exp(delta A) is 2^(delta A). */
INLINE FN(vec) FN(load_A)(const struct scan *s, const struct FN(chunk) *chunk, int n)
{
    return FN(load)(s->A + n * s->channels + chunk->channel, chunk->lanes) * LOG2_E;
}

/* The largest absolute value of all states' A, so scaled; NaN if one is infinite or NaN. */
INLINE FN(vec) FN(largest_A)(const struct scan *s, const struct FN(chunk) *chunk, int d_state)
{
    const FN(vec) zero = FN(set1)(0.0f);
    FN(vec) positive = zero, negative = zero, spoiled = zero;
    for (int n = 0; n < d_state; n++) {
        const FN(vec) A = FN(load)(s->A + n * s->channels + chunk->channel, chunk->lanes);
        positive = FN(larger)(A, positive);
        negative = FN(smaller)(A, negative);
        spoiled = FN(fma)(A, zero, spoiled);
    }
    return (FN(larger)(-negative, positive) + spoiled) * LOG2_E;
}

/* Whether exp2_product may take a token's delta A. */
INLINE int FN(is_token_bounded)(const struct FN(chunk) *chunk, int i)
{
    return FN(is_bounded)(chunk->delta[i], chunk->largest_A);
}

INLINE int FN(is_chunk_bounded)(const struct FN(chunk) *chunk)
{
    int bounded = 1;
    for (int i = 0; i < chunk->length; i++)
        bounded &= FN(is_token_bounded)(chunk, i);
    return bounded;
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

INLINE FN(vec) FN(load_u)(const struct scan *s, ptrdiff_t row, const struct FN(chunk) *chunk)
{
    return FN(load)(s->u + row * s->u_stride + chunk->channel, chunk->lanes);
}

INLINE FN(vec) FN(load_state)(const struct FN(chunk) *chunk, int n)
{
    return FN(load)(chunk->before + n * chunk->before_stride, chunk->lanes);
}

INLINE void FN(store_state)(const struct FN(chunk) *chunk, int n, FN(vec) h)
{
    FN(store)(chunk->after + n * chunk->after_stride, h, chunk->lanes);
}

/* 2^(delta A) of a bounded token. */
INLINE FN(vec) FN(decay)(FN(vec) delta, FN(vec) A, const int coarse)
{
    return coarse ? FN(coarse_exp2_product)(delta, A) : FN(exp2_product)(delta, A);
}

/* Second phase: h_t = exp(delta A) h_{t-1} + delta B u and y_t = C . h_t + D u, token by token (Mamba,
 * algorithm 2). So of `number` states from `first` on, to whose y those before have been added.
 * `constants` says whether B or C may be constant over time. Every token is bounded. */
INLINE void FN(advance)(
    const struct scan *s, struct FN(chunk) *chunk, const int first, const int number, const int constants,
    const int walks, const int coarse)
{
    const int B_constant = constants && s->B_constant, C_constant = constants && s->C_constant;
    const FN(vec) D = FN(load_optional)(s->D, chunk->channel, chunk->lanes);
    FN(vec) A[STATES_AT_ONCE], h[STATES_AT_ONCE]; /* in registers, if their number is known */
    for (int n = 0; n < number; n++) {
        A[n] = FN(load_A)(s, chunk, first + n);
        h[n] = FN(load_state)(chunk, first + n);
    }
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t row = FN(row)(chunk, i, walks);
        const FN(vec) u = FN(load_u)(s, row, chunk);
        const FN(vec) delta = chunk->delta[i], delta_u = delta * u;
        FN(vec) y = first ? chunk->y[i] : D * u;
        UNROLL
        for (int n = 0; n < number; n++) {
            const FN(vec) B =
                FN(coefficient)(s, s->B, row * s->B_stride, B_constant, first, n, number, chunk);
            const FN(vec) C =
                FN(coefficient)(s, s->C, row * s->C_stride, C_constant, first, n, number, chunk);
            h[n] = FN(fma)(FN(decay)(delta, A[n], coarse), h[n], delta_u * B);
            y = FN(fma)(C, h[n], y);
        }
        chunk->y[i] = y;
    }
    for (int n = 0; n < number; n++)
        FN(store_state)(chunk, first + n, h[n]);
}

/* The same in two loops: these states of all tokens of the chunk, then what they give. Never coarse. */
INLINE void FN(advance_fixlen)(
    const struct scan *s, struct FN(chunk) *chunk, const int first, const int number, const int constants,
    const int walks)
{
    const int B_constant = constants && s->B_constant, C_constant = constants && s->C_constant;
    const FN(vec) D = FN(load_optional)(s->D, chunk->channel, chunk->lanes);
    FN(vec) A[FIXLEN_STATES_AT_ONCE];
    FN(vec) *states = chunk->room; /* those before the chunk, then of each token */
    for (int n = 0; n < number; n++) {
        A[n] = FN(load_A)(s, chunk, first + n);
        states[n] = FN(load_state)(chunk, first + n);
    }
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t row = FN(row)(chunk, i, walks);
        const FN(vec) u = FN(load_u)(s, row, chunk);
        const FN(vec) delta = chunk->delta[i], delta_u = delta * u;
        const FN(vec) *before = states + i * number;
        FN(vec) *now = states + (i + 1) * number;
        for (int n = 0; n < number; n++) {
            const FN(vec) B =
                FN(coefficient)(s, s->B, row * s->B_stride, B_constant, first, n, number, chunk);
            now[n] = FN(fma)(FN(exp2_product)(delta, A[n]), before[n], delta_u * B);
        }
    }
    for (int i = 0; i < chunk->length; i++) {
        const ptrdiff_t row = FN(row)(chunk, i, walks);
        FN(vec) y = first ? chunk->y[i] : D * FN(load_u)(s, row, chunk);
        for (int n = 0; n < number; n++) {
            const FN(vec) C =
                FN(coefficient)(s, s->C, row * s->C_stride, C_constant, first, n, number, chunk);
            y = FN(fma)(C, states[(i + 1) * number + n], y);
        }
        chunk->y[i] = y;
    }
    for (int n = 0; n < number; n++)
        FN(store_state)(chunk, first + n, states[chunk->length * number + n]);
}

/* The second phase of all states, some at a time: the stack of a thread may be small. */
INLINE void FN(advance_all)(
    const struct scan *s, struct FN(chunk) *chunk, const int d_state, const int constants, const int walks,
    const int coarse)
{
    const int fixlen = !walks && !coarse && s->fixlen;
    if (!fixlen && d_state == STATES_AT_ONCE) {
        FN(advance)(s, chunk, 0, STATES_AT_ONCE, constants, walks, coarse);
        return;
    }
    const int most = fixlen ? FIXLEN_STATES_AT_ONCE : STATES_AT_ONCE;
    for (int first = 0; first < d_state; first += most) {
        const int number = d_state - first < most ? d_state - first : most;
        if (!fixlen)
            FN(advance)(s, chunk, first, number, constants, walks, coarse);
        else if (number == FIXLEN_STATES_AT_ONCE)
            FN(advance_fixlen)(s, chunk, first, FIXLEN_STATES_AT_ONCE, constants, walks);
        else
            FN(advance_fixlen)(s, chunk, first, number, constants, walks);
    }
}

/* The second phase of a token, bounded or not: each state goes from memory to memory at once. What the
 * loop reads of `s` is read before it, since its stores might change that. */
INLINE void FN(advance_token)(
    const struct scan *s, struct FN(chunk) *chunk, int i, const int d_state, const int constants,
    const int walks, const int bounded, const int coarse)
{
    const int B_constant = constants && s->B_constant, C_constant = constants && s->C_constant;
    const int lanes = chunk->lanes;
    const ptrdiff_t row = FN(row)(chunk, i, walks), channels = s->channels;
    const ptrdiff_t before_stride = chunk->before_stride, after_stride = chunk->after_stride;
    const float *A = s->A + chunk->channel, *before = chunk->before;
    const float *B = s->B + (B_constant ? chunk->channel : row * s->B_stride);
    const float *C = s->C + (C_constant ? chunk->channel : row * s->C_stride);
    float *after = chunk->after;
    const FN(vec) u = FN(load_u)(s, row, chunk), delta = chunk->delta[i], delta_u = delta * u;
    FN(vec) y = FN(load_optional)(s->D, chunk->channel, lanes) * u;
    for (int n = 0; n < d_state; n++) {
        const FN(vec) scaled_A = FN(load)(A, lanes) * LOG2_E;
        const FN(vec) decay = bounded ? FN(decay)(delta, scaled_A, coarse) : FN(exp2)(delta * scaled_A);
        const FN(vec) Bu = delta_u * (B_constant ? FN(load)(B, lanes) : FN(set1)(*B));
        const FN(vec) h = FN(fma)(decay, FN(load)(before, lanes), Bu);
        y = FN(fma)(C_constant ? FN(load)(C, lanes) : FN(set1)(*C), h, y);
        FN(store)(after, h, lanes);
        A += channels, before += before_stride, after += after_stride;
        B += B_constant ? channels : 1, C += C_constant ? channels : 1;
    }
    chunk->y[i] = y;
}

/* The second phase, token by token through memory. So goes a chunk of one, as a language model's next token
 * is, and one with a token that is not bounded. */
INLINE void FN(advance_one_by_one)(
    const struct scan *s, struct FN(chunk) *chunk, const int d_state, const int constants, const int walks,
    const int coarse)
{
    for (int i = 0; i < chunk->length; i++) {
        if (FN(is_token_bounded)(chunk, i))
            FN(advance_token)(s, chunk, i, d_state, constants, walks, 1, coarse);
        else
            FN(advance_token)(s, chunk, i, d_state, constants, walks, 0, coarse);
        chunk->before = chunk->after;
        chunk->before_stride = chunk->after_stride;
    }
}

/* Third phase: sum of the directions, gate, and the store. */
INLINE void FN(gate_and_store)(
    const struct scan *s, struct FN(chunk) *chunk, const int walks, const int coarse)
{
    FN(vec) *z = chunk->room, *divisors = chunk->room + CHUNK;
    if (s->z) {
        for (int i = 0; i < chunk->length; i++)
            z[i] = FN(load)(
                s->z + FN(row)(chunk, i, walks) * s->z_stride + chunk->channel, chunk->lanes);
        if (coarse)
            FN(coarse_silu_divisors)(z, divisors, chunk->length);
        else
            FN(silu_divisors)(z, divisors, chunk->length);
    }
    for (int i = 0; i < chunk->length; i++) {
        float *out = s->out + FN(row)(chunk, i, walks) * s->out_stride + chunk->channel;
        FN(vec) y = chunk->y[i];
        if (s->accumulate)
            y += FN(load)(out, chunk->lanes);
        if (s->z)
            y *= coarse ? FN(coarse_quotient)(z[i], divisors[i]) : z[i] / divisors[i];
        FN(store)(out, y * s->scale, chunk->lanes);
    }
}

/* All three, in each case with constants of its own, so that the loops over tokens hold no choice. */
INLINE void FN(scan_chunk)(
    const struct scan *s, struct FN(chunk) *chunk, const int d_state, const int constants, const int walks,
    const int coarse)
{
    FN(softplus_of_delta)(s, chunk, walks, coarse);
    chunk->largest_A = FN(largest_A)(s, chunk, d_state);
    if (chunk->length > 1 && FN(is_chunk_bounded)(chunk))
        FN(advance_all)(s, chunk, d_state, constants, walks, coarse);
    else
        FN(advance_one_by_one)(s, chunk, d_state, constants, walks, coarse);
    FN(gate_and_store)(s, chunk, walks, coarse);
}

/* Second and third phase of a single state, where nothing gates: softplus, loads and stores are then what takes
 * the time, and what a token gives is stored at once. Every token is bounded. What the loop reads of `s` is
 * read before it, since its stores might change that. */
INLINE void FN(advance_one_state)(
    const struct scan *s, struct FN(chunk) *chunk, const int walks, const int coarse)
{
    const int length = chunk->length, accumulate = s->accumulate;
    const ptrdiff_t u_stride = s->u_stride, B_stride = s->B_stride;
    const ptrdiff_t C_stride = s->C_stride, out_stride = s->out_stride;
    const float *u = s->u + chunk->channel, *B = s->B, *C = s->C;
    float *out = s->out + chunk->channel;
    const FN(vec) A = FN(load_A)(s, chunk, 0), scale = FN(set1)(s->scale);
    const FN(vec) D = FN(load_optional)(s->D, chunk->channel, W);
    FN(vec) h = FN(load_state)(chunk, 0);
    for (int i = 0; i < length; i++) {
        const ptrdiff_t row = FN(row)(chunk, i, walks);
        const FN(vec) input = FN(load)(u + row * u_stride, W), delta = chunk->delta[i];
        const FN(vec) decay = FN(decay)(delta, A, coarse);
        h = FN(fma)(decay, h, delta * input * FN(set1)(B[row * B_stride]));
        FN(vec) y = FN(fma)(FN(set1)(C[row * C_stride]), h, D * input);
        float *to = out + row * out_stride;
        if (accumulate)
            y += FN(load)(to, W);
        FN(store)(to, y * scale, W);
    }
    FN(store_state)(chunk, 0, h);
}

/* The three phases of a single state, in whole vectors. */
INLINE void FN(scan_chunk_of_one_state)(
    const struct scan *s, struct FN(chunk) *chunk, const int walks, const int coarse)
{
    FN(softplus_of_delta)(s, chunk, walks, coarse);
    chunk->largest_A = FN(largest_A)(s, chunk, 1);
    if (chunk->length > 1 && FN(is_chunk_bounded)(chunk)) {
        FN(advance_one_state)(s, chunk, walks, coarse);
    } else {
        FN(advance_one_by_one)(s, chunk, 1, 0, walks, coarse);
        FN(gate_and_store)(s, chunk, walks, coarse);
    }
}

/* Where a chunk finds the states of its channels and leaves them: in memory of the caller's before the
 * first token and after the last one, if there is some, and else among those `kept`. */
INLINE void FN(place_states)(const struct scan *s, struct FN(chunk) *chunk, FN(vec) *kept)
{
    chunk->before = chunk->after = (float *)kept;
    chunk->before_stride = chunk->after_stride = W;
    if (chunk->first == 0 && s->initial_state) {
        chunk->before = s->initial_state + chunk->channel;
        chunk->before_stride = s->channels;
    }
    if (chunk->first + chunk->length == s->length && s->last_state) {
        chunk->after = s->last_state + chunk->channel;
        chunk->after_stride = s->channels;
    }
}

/* dt of a chunk's tokens, one after the other: a product takes them so. */
INLINE void FN(gather_dt)(const struct scan *s, const struct FN(chunk) *chunk)
{
    const ptrdiff_t inputs = s->dt_proj.weights.inputs;
    for (int i = 0; i < chunk->length; i++)
        for (ptrdiff_t k = 0; k < inputs; k++)
            s->dt_of_chunk[i * inputs + k] = s->dt_proj.x[chunk->rows[i] * s->dt_proj.x_stride + k];
}

/* delta of a chunk, given or projected now: it is still in the cache when it is read. */
INLINE const float *FN(delta_of_chunk)(
    const struct scan *s, const struct FN(chunk) *chunk, ptrdiff_t begin, ptrdiff_t end, const int walks)
{
    if (s->dt_proj.weights.inputs == 0)
        return s->delta + (walks ? 0 : chunk->first * s->delta_stride);
    struct product dt_proj = s->dt_proj;
    if (walks) {
        FN(gather_dt)(s, chunk);
        dt_proj.x = s->dt_of_chunk;
        dt_proj.x_stride = dt_proj.weights.inputs;
    } else {
        dt_proj.x += chunk->first * dt_proj.x_stride;
    }
    FN(product)(&dt_proj, (struct extent){0, chunk->length}, (struct extent){begin, end});
    return s->delta;
}

/* One direction of the channels from `begin` to `end`. `one_state` says that has_one_state() holds. */
INLINE void FN(scan_direction)(
    const struct scan *s, ptrdiff_t begin, ptrdiff_t end, const int one_state, const int walks,
    const int coarse)
{
    FN(vec) states[STATES / W];
    if (!s->initial_state)
        for (ptrdiff_t i = 0; i < (end - begin + W - 1) / W * s->d_state; i++)
            states[i] = FN(set1)(0.0f); /* h_{-1} */
    struct FN(chunk) chunk;
    for (chunk.first = 0; chunk.first < s->length; chunk.first += CHUNK) {
        chunk.length = FN(chunk_from)(chunk.first, s->length, CHUNK);
        if (walks)
            follow_walk(&s->walk, chunk.first, chunk.length, chunk.rows);
        chunk.delta_of_first = FN(delta_of_chunk)(s, &chunk, begin, end, walks);
        FN(vec) *kept = states;
        for (chunk.channel = begin; chunk.channel < end; chunk.channel += W, kept += s->d_state) {
            chunk.lanes = FN(lanes_from)(chunk.channel, end);
            FN(place_states)(s, &chunk, kept);
            if (one_state && chunk.lanes == W)
                FN(scan_chunk_of_one_state)(s, &chunk, walks, coarse);
            else if (one_state)
                FN(scan_chunk)(s, &chunk, 1, 0, walks, coarse);
            else if (chunk.lanes == W && s->d_state == 16 && !s->B_constant && !s->C_constant)
                FN(scan_chunk)(s, &chunk, 16, 0, walks, coarse); /* every published Vim and Mamba */
            else
                FN(scan_chunk)(s, &chunk, s->d_state, !walks && !coarse, walks, coarse);
        }
    }
}

/* Each by itself: it has its own stack, and the registers that it needs. */
#undef SCAN
#define SCAN(name, one_state, walks, coarse) \
    NOINLINE void FN(name)(const struct scan *s, ptrdiff_t begin, ptrdiff_t end) \
    { \
        FN(scan_direction)(s, begin, end, one_state, walks, coarse); \
    }

SCAN(scan_rows, 0, 0, 0)
SCAN(scan_walk, 0, 1, 0)
SCAN(scan_rows_of_one_state, 1, 0, 0)
SCAN(scan_walk_of_one_state, 1, 1, 0)
SCAN(scan_rows_coarsely, 0, 0, 1)
SCAN(scan_walk_coarsely, 0, 1, 1)
SCAN(scan_rows_of_one_state_coarsely, 1, 0, 1)
SCAN(scan_walk_of_one_state_coarsely, 1, 1, 1)

/* Whether a scan has a single state, and nothing that its own loops cannot do: as in VMamba. */
INLINE int FN(has_one_state)(const struct scan *s)
{
    return s->d_state == 1 && !s->B_constant && !s->C_constant && !s->fixlen && !s->z;
}

INLINE void FN(scan_any)(const struct scan *s, ptrdiff_t begin, ptrdiff_t end)
{
    static void (*const calls[2][2][2])(const struct scan *, ptrdiff_t, ptrdiff_t) = {
        {{FN(scan_rows), FN(scan_walk)}, {FN(scan_rows_of_one_state), FN(scan_walk_of_one_state)}},
        {{FN(scan_rows_coarsely), FN(scan_walk_coarsely)},
         {FN(scan_rows_of_one_state_coarsely), FN(scan_walk_of_one_state_coarsely)}},
    };
    calls[s->coarse][FN(has_one_state)(s)][s->walk.lines > 0](s, begin, end);
}

/* The channels from `begin` to `end`, as many at once as there is room for their states. */
static void FN(scan_channels)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct scans *scans = task;
    const ptrdiff_t most = STATES / scans->of_direction->d_state / W * W;
    for (; begin < end; begin += most)
        for (int i = 0; i < scans->directions; i++)
            FN(scan_any)(&scans->of_direction[i], begin, begin + most < end ? begin + most : end);
}
