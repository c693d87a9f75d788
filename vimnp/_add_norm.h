/* Residual addition and RMSNorm (or LayerNorm) of each token.
 *
 * Included once for each instruction set by _kernels.h. Here a vector holds W neighbouring channels
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

INLINE float FN(mean)(const float *x, ptrdiff_t channels)
{
    FN(vec) sums = FN(set1)(0.0f);
    for (ptrdiff_t c = 0; c < channels; c += W)
        sums += FN(load)(x + c, FN(lanes_from)(c, channels));
    return FN(total)(sums) / (float)channels;
}

INLINE float FN(mean_square)(const float *x, float mean, ptrdiff_t channels)
{
    FN(vec) sums = FN(set1)(0.0f);
    for (ptrdiff_t c = 0; c < channels; c += W) {
        const int lanes = FN(lanes_from)(c, channels);
        const FN(vec) difference = FN(load)(x + c, lanes) - FN(set_lanes)(mean, lanes);
        sums = FN(fma)(difference, difference, sums);
    }
    return FN(total)(sums) / (float)channels;
}

/* residual += hidden where there is one; out = (residual - mean) / sqrt(variance + epsilon) * weight
 * + bias, and without bias the same with a mean of zero. */
INLINE void FN(add_norm_token)(const struct add_norm *n, ptrdiff_t t)
{
    float *residual = n->residual + t * n->residual_step;
    if (n->hidden)
        for (ptrdiff_t c = 0; c < n->channels; c += W) {
            const int lanes = FN(lanes_from)(c, n->channels);
            const FN(vec) hidden = FN(load)(n->hidden + t * n->hidden_step + c, lanes);
            FN(store)(residual + c, FN(load)(residual + c, lanes) + hidden, lanes);
        }
    const float mean = n->bias ? FN(mean)(residual, n->channels) : 0.0f;
    const float variance = FN(mean_square)(residual, mean, n->channels);
    const float scale = 1.0f / sqrtf(variance + n->epsilon);
    float *out = n->out + t * n->out_step;
    for (ptrdiff_t c = 0; c < n->channels; c += W) {
        const int lanes = FN(lanes_from)(c, n->channels);
        const FN(vec) x = (FN(load)(residual + c, lanes) - mean) * scale;
        const FN(vec) weight = FN(load)(n->weight + c, lanes);
        FN(store)(out + c, FN(fma)(x, weight, FN(load_optional)(n->bias, c, lanes)), lanes);
    }
}

/* The tokens from `begin` to `end`. */
static void FN(add_norm_tokens)(const void *task, ptrdiff_t begin, ptrdiff_t end)
{
    for (ptrdiff_t t = begin; t < end; t++)
        FN(add_norm_token)(task, t);
}
