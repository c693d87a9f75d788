/* The network in one parallel region: a thread's way from pixels to logits, step by step as in
 * vimnp/model.py.
 *
 * Included once for each instruction set by _kernels.h. Threads split channels where time is to pass
 * (from in_proj through the convolutions, and from dt_proj through the scans and the gate), and tokens
 * where all channels of a token meet (x_proj; out_proj, residual and norm). Each is a stage, four a
 * layer, and begins when the one before is done. No sum is ever split among threads, so the logits'
 * bits do not depend on their number.
 */

/* ---- Embedding ---- */

static void FN(gather_patch)(const struct network *n, const float *pixels, ptrdiff_t m, float *patch)
{
    const ptrdiff_t top = m / n->columns * n->stride, left = m % n->columns * n->stride;
    for (int c = 0; c < IMAGE_CHANNELS; c++)
        for (ptrdiff_t y = top; y < top + n->patch_size; y++, patch += n->patch_size)
            memcpy(patch, pixels + (c * n->height + y) * n->width + left,
                   sizeof(float) * (size_t)n->patch_size);
}

/* Tokens that have a patch each: that of token t is number t - `before`. */
static void FN(embed_patches)(
    struct worker *worker, const float *pixels, struct range tokens, ptrdiff_t before)
{
    const struct network *n = worker->n;
    const ptrdiff_t size = n->patch_proj.inputs;
    float *patches = worker->w->patches + worker->member.index * PATCHES * size;
    for (ptrdiff_t first = tokens.begin; first < tokens.end; first += PATCHES) {
        const int run = FN(run_from)(first, tokens.end, PATCHES);
        for (int i = 0; i < run; i++)
            FN(gather_patch)(n, pixels, first + i - before, patches + i * size);
        const struct product p = {
            n->patch_proj, patches, n->token_offset + first * n->embed_dim,
            worker->w->residual + first * n->embed_dim, size, n->embed_dim, n->embed_dim};
        FN(product)(&p, (struct range){0, run}, (struct range){0, n->embed_dim});
    }
}

/* Patches -> tokens, with class token and position embedding. */
static void FN(embed)(struct worker *worker, const float *pixels, struct range tokens)
{
    const struct network *n = worker->n;
    const ptrdiff_t t = n->class_token;
    if (tokens.begin <= t && t < tokens.end)
        memcpy(worker->w->residual + t * n->embed_dim, n->token_offset + t * n->embed_dim,
               sizeof(float) * (size_t)n->embed_dim);
    FN(embed_patches)(worker, pixels, common(tokens, (struct range){0, t}), 0);
    FN(embed_patches)(worker, pixels, common(tokens, (struct range){t + 1, n->length}), t >= 0);
    book(worker, STEP_EMBED);
}

/* ---- Norm ---- */

/* residual -> normed; the residual is complete already. */
static void FN(norm)(struct worker *worker, const struct norm *norm, struct range tokens)
{
    const struct network *n = worker->n;
    const struct add_norm task = {
        .length = n->length, .channels = n->embed_dim, .epsilon = n->epsilon,
        .residual = worker->w->residual, .residual_step = n->embed_dim,
        .weight = norm->weight, .bias = norm->bias,
        .out = worker->w->normed, .out_step = n->embed_dim};
    FN(add_norm_tokens)(&task, tokens.begin, tokens.end);
    book(worker, STEP_NORM);
}

/* ---- Mixer: the bidirectional block ---- */

/* normed (L, E) -> these channels of x and z (L, Dn), of some tokens. */
static void FN(in_proj)(
    struct worker *worker, const struct layer *layer, struct range channels,
    struct range tokens)
{
    const struct network *n = worker->n;
    const struct product p = {
        layer->in_proj, worker->w->normed, NULL, worker->w->xz, n->embed_dim, 0, 2 * n->d_inner};
    /* Products write whole vectors: the last one of x may hold the first of z. */
    const ptrdiff_t whole = (channels.end + W - 1) / W * W, z = (n->d_inner + W - 1) / W * W;
    const struct range of_z = {z + channels.begin, z + whole};
    FN(product)(&p, tokens, channels);
    FN(product)(
        &p, common(tokens, worker->needed), common(of_z, (struct range){0, 2 * n->d_inner}));
    book(worker, STEP_IN_PROJ);
}

/* x, of which these tokens are new -> u of both directions. */
static void FN(causal_conv1d)(
    struct worker *worker, const struct layer *layer, struct range channels,
    struct range tokens)
{
    const struct network *n = worker->n;
    struct convolution task = {
        .length = n->length, .channels = n->d_inner, .taps = n->d_conv, .silu = 1, .directions = 2,
        .x = worker->w->xz, .x_step = 2 * n->d_inner, .positions = tokens};
    if (tokens.end == n->length)
        task.positions.end = last_position(&task);
    for (int d = 0; d < 2; d++) {
        const struct direction *direction = &layer->directions[d];
        task.filters[d] = (struct filter){
            direction->conv_weight, direction->conv_bias, worker->w->u[d], n->d_inner};
    }
    FN(convolve_channels)(&task, channels.begin, channels.end);
    book(worker, STEP_CONV1D);
}

/* The tokens that a direction passes on its way to the needed ones. */
INLINE struct range FN(on_the_way)(const struct worker *worker, int d)
{
    return d ? (struct range){worker->needed.begin, worker->n->length}
             : (struct range){0, worker->needed.end};
}

/* u -> dt, B and C of both directions. */
static void FN(x_proj)(
    struct worker *worker, const struct layer *layer, struct range tokens)
{
    const struct network *n = worker->n;
    for (int d = 0; d < 2; d++) {
        const struct matrix *weights = &layer->directions[d].x_proj;
        const struct product p = {
            *weights, worker->w->u[d], NULL, worker->w->x_dbl[d], n->d_inner, 0, weights->outputs};
        const struct range rows = common(tokens, FN(on_the_way)(worker, d));
        FN(product)(&p, rows, (struct range){0, weights->outputs});
    }
    book(worker, STEP_X_PROJ);
}

/* One direction's task: the second adds to what the first wrote, gates the sum and scales it. */
INLINE struct scan FN(scan_task)(
    const struct worker *worker, const struct direction *direction, int d)
{
    const struct network *n = worker->n;
    const struct workspace *w = worker->w;
    const ptrdiff_t first = d ? n->length - 1 : 0, sign = d ? -1 : 1;
    const struct range tokens = FN(on_the_way)(worker, d);
    const ptrdiff_t x_dbl_step = n->dt_rank + 2 * n->d_state;
    const float *dt = w->x_dbl[d] + first * x_dbl_step;
    float *delta = w->delta + worker->member.index * RUN * n->d_inner;
    return (struct scan){
        .length = tokens.end - tokens.begin, .channels = n->d_inner, .d_state = n->d_state,
        .delta_softplus = 1, .accumulate = d, .scale = d ? n->scale : 1.0f,
        .u = w->u[d] + first * n->d_inner, .u_step = sign * n->d_inner,
        .delta = delta, .delta_step = n->d_inner, .delta_bias = direction->dt_bias,
        .dt_proj = {direction->dt_proj, dt, NULL, delta, sign * x_dbl_step, 0, n->d_inner},
        .A = direction->A, .D = direction->D,
        .B = dt + n->dt_rank, .B_step = sign * x_dbl_step,
        .C = dt + n->dt_rank + n->d_state, .C_step = sign * x_dbl_step,
        .z = d ? w->xz + first * 2 * n->d_inner + n->d_inner : NULL,
        .z_step = sign * 2 * n->d_inner,
        .out = w->xz + first * 2 * n->d_inner, .out_step = sign * 2 * n->d_inner};
}

/* u, dt, B, C and z -> y (L, Dn), both directions summed and gated, in x's place. */
static void FN(scan)(
    struct worker *worker, const struct layer *layer, struct range channels)
{
    const struct scan of_direction[2] = {
        FN(scan_task)(worker, &layer->directions[0], 0),
        FN(scan_task)(worker, &layer->directions[1], 1)};
    const struct scans task = {2, of_direction};
    FN(scan_channels)(&task, channels.begin, channels.end);
    book(worker, STEP_SCAN);
}

/* residual += y @ out_proj */
static void FN(out_proj)(
    struct worker *worker, const struct layer *layer, struct range tokens)
{
    const struct network *n = worker->n;
    float *residual = worker->w->residual;
    const struct product p = {
        layer->out_proj, worker->w->xz, residual, residual, 2 * n->d_inner, n->embed_dim,
        n->embed_dim};
    FN(product)(&p, tokens, (struct range){0, n->embed_dim});
    book(worker, STEP_OUT_PROJ);
}

/* normed (L, E) -> residual (L, E), and its norm for what comes next. */
static void FN(mixer)(
    struct worker *worker, const struct layer *layer, const struct norm *next_norm)
{
    const ptrdiff_t length = worker->n->length;
    struct range channels, tokens;
    while (take_next(worker, &channels))
        for (ptrdiff_t t = 0; t < length; t += BLOCK) { /* x is still in the cache when it is read */
            const struct range block = {t, t + BLOCK < length ? t + BLOCK : length};
            FN(in_proj)(worker, layer, channels, block);
            FN(causal_conv1d)(worker, layer, channels, block);
        }
    while (take_next(worker, &tokens))
        FN(x_proj)(worker, layer, tokens);
    while (take_next(worker, &channels))
        FN(scan)(worker, layer, channels); /* with dt_proj */
    while (take_next(worker, &tokens)) {
        tokens = common(tokens, worker->needed);
        FN(out_proj)(worker, layer, tokens);
        FN(norm)(worker, next_norm, tokens);
    }
}

/* ---- Head ---- */

INLINE void FN(mean_of_tokens)(const struct worker *worker, float *features)
{
    const struct network *n = worker->n;
    for (ptrdiff_t c = 0; c < n->embed_dim; c += W) {
        const int lanes = FN(lanes_from)(c, n->embed_dim);
        FN(vec) sum = FN(set1)(0.0f);
        for (ptrdiff_t t = 0; t < n->length; t++)
            sum += FN(load)(worker->w->normed + t * n->embed_dim + c, lanes);
        FN(store)(features + c, sum / (float)n->length, lanes);
    }
}

/* The class token, the last token or the mean of all: (E,). */
static void FN(pool)(struct worker *worker, float *features)
{
    const struct network *n = worker->n;
    const ptrdiff_t t = n->pooled_token;
    struct range whole;
    while (take_next(worker, &whole)) {
        if (t < 0)
            FN(mean_of_tokens)(worker, features);
        else
            memcpy(features, worker->w->normed + t * n->embed_dim,
                   sizeof(float) * (size_t)n->embed_dim);
        book(worker, STEP_POOL);
    }
}

static void FN(head)(struct worker *worker, const float *features, float *logits)
{
    const struct network *n = worker->n;
    const struct product p = {n->head, features, n->head_bias, logits, n->embed_dim, 0, n->classes};
    struct range classes;
    while (take_next(worker, &classes)) {
        FN(product)(&p, (struct range){0, 1}, classes);
        book(worker, STEP_HEAD);
    }
}

/* ---- The pass ---- */

/* What a layer has to hand on: every token, but of the last layer, if one is pooled, that one. */
INLINE struct range FN(tokens_needed)(const struct network *n, int layer)
{
    if (layer + 1 == n->depth && n->pooled_token >= 0)
        return (struct range){n->pooled_token, n->pooled_token + 1};
    return (struct range){0, n->length};
}

static void FN(forward_image)(
    struct worker *worker, const float *pixels, float *features, float *logits)
{
    const struct network *n = worker->n;
    struct range tokens;
    while (take_next(worker, &tokens)) {
        FN(embed)(worker, pixels, tokens);
        FN(norm)(worker, &n->layers[0].norm, tokens);
    }
    for (int i = 0; i < n->depth; i++) {
        worker->needed = FN(tokens_needed)(n, i);
        FN(mixer)(worker, &n->layers[i], i + 1 < n->depth ? &n->layers[i + 1].norm : &n->norm_f);
    }
    FN(pool)(worker, features);
    FN(head)(worker, features, logits);
}

static void FN(forward)(const void *task, struct member member)
{
    const struct pass *pass = task;
    const struct network *n = pass->network;
    struct worker worker = {
        .pass = pass, .n = n, .w = &pass->workspace, .member = member,
        .seconds = member.index == 0 ? pass->seconds : NULL, .clock = seconds_now()};
    for (int i = 0; i < pass->images; i++) {
        if (pass->logits)
            FN(forward_image)(
                &worker, pass->pixels[i], pass->workspace.features, pass->logits + i * n->classes);
        else
            FN(forward_image)(&worker, pass->pixels[i], pass->features + i * n->embed_dim, NULL);
    }
}
