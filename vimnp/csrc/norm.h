/* Residual addition and RMSNorm (or LayerNorm) of each token, which a gate or an activation may follow.
 *
 * Included once for each instruction set by kernels.h. Here a vector holds W neighbouring channels
 * of one token.
 */

/* Of W partial sums, first to last. */
INLINE float FN(total)(FN(vec) sums)
{
    float parts[W], total = 0.0f;
    FN(store)(parts, sums, W);
    for (int i = 0; i < W; i++)
        total += parts[i];
    return total;
}

/* Each pass goes over whole vectors, where nothing is left to decide, and then over the rest. */

INLINE float FN(mean)(const float *x, ptrdiff_t channels)
{
    FN(vec) sums = FN(set1)(0.0f);
    ptrdiff_t c = 0;
    for (; c + W <= channels; c += W)
        sums += FN(load)(x + c, W);
    if (c < channels)
        sums += FN(load)(x + c, (int)(channels - c));
    return FN(total)(sums) / (float)channels;
}

INLINE FN(vec) FN(difference)(const float *x, float mean, int lanes)
{
    return FN(load)(x, lanes) - FN(set_lanes)(mean, lanes);
}

INLINE float FN(mean_square)(const float *x, float mean, ptrdiff_t channels)
{
    FN(vec) sums = FN(set1)(0.0f), rest;
    ptrdiff_t c = 0;
    for (; c + W <= channels; c += W) {
        rest = FN(difference)(x + c, mean, W);
        sums = FN(fma)(rest, rest, sums);
    }
    if (c < channels) {
        rest = FN(difference)(x + c, mean, (int)(channels - c));
        sums = FN(fma)(rest, rest, sums);
    }
    return FN(total)(sums) / (float)channels;
}

INLINE void FN(add)(float *residual, const float *hidden, int lanes)
{
    FN(store)(residual, FN(load)(residual, lanes) + FN(load)(hidden, lanes), lanes);
}

/* A vector of the result. */
INLINE void FN(normalise)(
    const struct add_norm *n, const float *residual, float mean, float scale, float *out,
    ptrdiff_t c, int lanes)
{
    const FN(vec) x = (FN(load)(residual + c, lanes) - mean) * scale;
    const FN(vec) weight = FN(load)(n->weight + c, lanes);
    FN(store)(out + c, FN(fma)(x, weight, FN(load_optional)(n->bias, c, lanes)), lanes);
}

/* x *= silu(gate), over all channels of a token: x and the gate's quotient are rounded apart. */
INLINE void FN(gate_token)(float *x, const float *gate, ptrdiff_t channels)
{
    for (ptrdiff_t first = 0; first < channels; first += TOGETHER * W) {
        const ptrdiff_t end = channels - first < TOGETHER * W ? channels : first + TOGETHER * W;
        FN(vec) gates[TOGETHER], divisors[TOGETHER];
        int number = 0;
        for (ptrdiff_t c = first; c < end; c += W)
            gates[number++] = FN(load)(gate + c, FN(lanes_from)(c, end));
        FN(silu_divisors)(gates, divisors, number);
        number = 0;
        for (ptrdiff_t c = first; c < end; c += W, number++) {
            const int lanes = FN(lanes_from)(c, end);
            FN(store)(x + c, FN(load)(x + c, lanes) * (gates[number] / divisors[number]), lanes);
        }
    }
}

/* residual += hidden where there is one; out = (residual - mean) / sqrt(variance + epsilon) * weight
 * + bias, and without bias the same with a mean of zero. */
INLINE void FN(add_norm_token)(const struct add_norm *n, ptrdiff_t t)
{
    float *residual = n->residual + t * n->residual_stride, *out = n->out + t * n->out_stride;
    const float *hidden = n->hidden ? n->hidden + t * n->hidden_stride : NULL;
    ptrdiff_t c = 0;
    for (; hidden && c + W <= n->channels; c += W)
        FN(add)(residual + c, hidden + c, W);
    if (hidden && c < n->channels)
        FN(add)(residual + c, hidden + c, (int)(n->channels - c));
    const float mean = n->bias ? FN(mean)(residual, n->channels) : 0.0f;
    const float variance = FN(mean_square)(residual, mean, n->channels);
    const float scale = 1.0f / sqrtf(variance + n->epsilon);
    for (c = 0; c + W <= n->channels; c += W)
        FN(normalise)(n, residual, mean, scale, out, c, W);
    if (c < n->channels)
        FN(normalise)(n, residual, mean, scale, out, c, (int)(n->channels - c));
    if (n->gate)
        FN(gate_token)(out, n->gate + t * n->gate_stride, n->channels);
    if (n->activation == ACTIVATION_GELU)
        FN(gelu_floats)(out, out, n->channels);
}

/* The tokens from `begin` to `end`. */
static void FN(add_norm_tokens)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t t = begin; t < end; t++)
        FN(add_norm_token)(task, t);
}
