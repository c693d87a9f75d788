/* The network in one parallel region: a thread's way from pixels to logits, step by step as in
 * vimnp/model.py.
 *
 * Included once for each instruction set by kernels.h. Threads split channels where time is to pass
 * (from in_proj through the convolutions, and from dt_proj through the scans and the gate), and tokens
 * where all channels of a token meet (x_proj; out_proj, residual and norm). Each is a stage, four a
 * layer, and begins when the one before is done. No sum is ever split among threads, so the logits'
 * bits do not depend on their number.
 */

/* ---- Orders of tokens ---- */

/* The first of the tokens in an order, and the step to the next. */
struct FN(walk) {
    ptrdiff_t first, sign;
};

INLINE struct FN(walk) FN(walk_through)(const struct worker *worker, int backward)
{
    return backward ? (struct FN(walk)){worker->n->length - 1, -1} : (struct FN(walk)){0, 1};
}

/* Some tokens in an order, as a range of the reversed one. */
INLINE struct range FN(reversed)(const struct worker *worker, struct range tokens, int backward)
{
    const ptrdiff_t length = worker->n->length;
    return backward ? (struct range){length - tokens.end, length - tokens.begin} : tokens;
}

/* ---- Embedding ---- */

static void FN(gather_patch)(const struct network *n, const float *pixels, ptrdiff_t m, float *patch)
{
    const ptrdiff_t top = m / n->columns * n->stride, left = m % n->columns * n->stride;
    for (int c = 0; c < IMAGE_CHANNELS; c++)
        for (ptrdiff_t y = top; y < top + n->patch_size; y++, patch += n->patch_size)
            memcpy(patch, pixels + (c * n->height + y) * n->width + left,
                   sizeof(float) * (size_t)n->patch_size);
}

/* Tokens in the picture's order that have a patch each: that of token t is number t - `before`. */
static void FN(embed_patches)(
    struct worker *worker, const float *pixels, struct range tokens, ptrdiff_t before)
{
    const struct network *n = worker->n;
    const ptrdiff_t size = n->patch_proj.inputs;
    const struct FN(walk) walk = FN(walk_through)(worker, n->flips_sequence);
    float *patches = worker->w->patches + worker->member.index * PATCHES * size;
    for (ptrdiff_t first = tokens.begin; first < tokens.end; first += PATCHES) {
        const int run = FN(run_from)(first, tokens.end, PATCHES);
        for (int i = 0; i < run; i++)
            FN(gather_patch)(n, pixels, first + i - before, patches + i * size);
        const struct product p = {
            n->patch_proj, patches, n->token_offset + first * n->embed_dim,
            worker->w->residual + (walk.first + walk.sign * first) * n->embed_dim, size, n->embed_dim,
            walk.sign * n->embed_dim};
        FN(product)(&p, (struct range){0, run}, (struct range){0, n->embed_dim});
    }
}

/* Patches -> these tokens of the sequence, with class tokens and position embedding. */
static void FN(embed)(struct worker *worker, const float *pixels, struct range sequence)
{
    const struct network *n = worker->n;
    const struct range tokens = FN(reversed)(worker, sequence, n->flips_sequence);
    const struct FN(walk) walk = FN(walk_through)(worker, n->flips_sequence);
    const size_t row = sizeof(float) * (size_t)n->embed_dim;
    ptrdiff_t first = 0;
    for (int before = 0; before <= n->number_of_class_tokens; before++) {
        const int is_last = before == n->number_of_class_tokens;
        const ptrdiff_t t = is_last ? n->length : n->class_tokens[before];
        FN(embed_patches)(worker, pixels, common(tokens, (struct range){first, t}), before);
        if (tokens.begin <= t && t < tokens.end)
            memcpy(worker->w->residual + (walk.first + walk.sign * t) * n->embed_dim,
                   n->token_offset + t * n->embed_dim, row);
        first = t + 1;
    }
    book(worker, STEP_EMBED);
}

/* ---- Rotation and norms: what comes before each block ---- */

/* Rotary position embedding of these tokens of an array (L, E), in place. */
static void FN(rotate)(const struct network *n, float *array, struct range tokens)
{
    for (ptrdiff_t t = tokens.begin; t < tokens.end; t++) {
        float *token = array + t * n->embed_dim;
        const float *cos = n->cos + t * n->embed_dim;
        const float *sin = n->sin + t * n->embed_dim;
        for (ptrdiff_t c = 0; c < n->embed_dim; c += 2) {
            const float first = token[c], second = token[c + 1];
            token[c] = first * cos[c] + second * sin[c];
            token[c + 1] = second * cos[c + 1] + first * sin[c + 1];
        }
    }
}

/* residual += hidden where there is one, and its norm into `out`. */
static void FN(norm)(
    struct worker *worker, const struct norm *norm, const float *hidden, float *out,
    struct range tokens)
{
    const struct network *n = worker->n;
    const struct add_norm task = {
        .length = n->length, .channels = n->embed_dim, .epsilon = norm->epsilon,
        .residual = worker->w->residual, .residual_step = n->embed_dim,
        .hidden = hidden, .hidden_step = n->embed_dim,
        .weight = norm->weight, .bias = norm->bias, .out = out, .out_step = n->embed_dim};
    FN(add_norm_tokens)(&task, tokens.begin, tokens.end);
}

/* Where a block's output waits to be rotated alone, before it joins the residual; NULL if the two may be
 * added at once, because they are rotated together or not at all. Nobody reads these norms any more. */
INLINE float *FN(hidden)(const struct worker *worker)
{
    return worker->n->cos && !worker->n->rope_residual ? worker->w->normed[0] : NULL;
}

/* residual, and hidden where they are apart -> normed, for each layer of the block that begins with this
 * one: none after the last. */
static void FN(begin_block)(struct worker *worker, int layer, struct range tokens)
{
    const struct network *n = worker->n;
    float *const *normed = worker->w->normed, *hidden = layer ? FN(hidden)(worker) : NULL;
    worker->layer = layer < n->depth ? layer : BETWEEN_LAYERS;
    if (layer == n->depth)
        FN(norm)(worker, &n->norm_f, hidden, normed[0], tokens);
    else {
        if (n->cos)
            FN(rotate)(n, hidden ? hidden : worker->w->residual, tokens);
        for (int i = 0; i < n->layers_in_block; i++)
            FN(norm)(worker, &n->layers[layer + i].norm, i ? NULL : hidden, normed[i], tokens);
    }
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
        layer->in_proj, worker->w->normed[layer->is_flipped], NULL, worker->w->xz, n->embed_dim, 0,
        2 * n->d_inner};
    /* Products write whole vectors: the last one of x may hold the first of z. */
    const ptrdiff_t whole = (channels.end + W - 1) / W * W, z = (n->d_inner + W - 1) / W * W;
    const struct range of_z = {z + channels.begin, z + whole};
    FN(product)(&p, tokens, channels);
    FN(product)(
        &p, common(tokens, worker->needed), common(of_z, (struct range){0, 2 * n->d_inner}));
    book(worker, STEP_IN_PROJ);
}

/* x, of which these tokens in the layer's time are new -> u of the directions. */
static void FN(causal_conv1d)(
    struct worker *worker, const struct layer *layer, struct range channels,
    struct range time)
{
    const struct network *n = worker->n;
    const struct FN(walk) walk = FN(walk_through)(worker, layer->is_flipped);
    struct convolution task = {
        .length = n->length, .channels = n->d_inner, .taps = n->d_conv, .silu = 1,
        .directions = n->computed, .x = worker->w->xz + walk.first * 2 * n->d_inner,
        .x_step = walk.sign * 2 * n->d_inner, .positions = time};
    if (time.end == n->length)
        task.positions.end = last_position(&task);
    for (int d = 0; d < n->computed; d++) {
        const struct direction *direction = &layer->directions[d];
        task.filters[d] = (struct filter){
            direction->conv_weight, direction->conv_bias,
            worker->w->u[d] + walk.first * n->d_inner, walk.sign * n->d_inner};
    }
    FN(convolve_channels)(&task, channels.begin, channels.end);
    book(worker, STEP_CONV1D);
}

/* The tokens that a scan passes on its way to the needed ones. */
INLINE struct range FN(on_the_way)(const struct worker *worker, int backward)
{
    return backward ? (struct range){worker->needed.begin, worker->n->length}
                    : (struct range){0, worker->needed.end};
}

/* The tokens of which the scans read what is computed with this direction's parameters. */
INLINE struct range FN(scanned)(const struct worker *worker, const struct layer *layer, int d)
{
    if (worker->n->computed < worker->n->directions) /* both scans read the same */
        return (struct range){0, worker->n->length};
    return FN(on_the_way)(worker, d ^ layer->is_flipped);
}

/* u -> dt, B and C of the directions. */
static void FN(x_proj)(
    struct worker *worker, const struct layer *layer, struct range tokens)
{
    const struct network *n = worker->n;
    for (int d = 0; d < n->computed; d++) {
        const struct matrix *weights = &layer->directions[d].x_proj;
        const struct product p = {
            *weights, worker->w->u[d], NULL, worker->w->x_dbl[d], n->d_inner, 0, weights->outputs};
        const struct range rows = common(tokens, FN(scanned)(worker, layer, d));
        FN(product)(&p, rows, (struct range){0, weights->outputs});
    }
    book(worker, STEP_X_PROJ);
}

/* One direction's task: the second adds to what the first wrote; the last gates the sum and scales it. */
INLINE struct scan FN(scan_task)(const struct worker *worker, const struct layer *layer, int d)
{
    const struct network *n = worker->n;
    const struct workspace *w = worker->w;
    const struct direction *direction = &layer->directions[d];
    const int backward = d ^ layer->is_flipped, is_last = d + 1 == n->directions;
    const int computed = d < n->computed ? d : 0;
    const struct FN(walk) walk = FN(walk_through)(worker, backward);
    const ptrdiff_t first = walk.first, sign = walk.sign;
    const struct range tokens = FN(on_the_way)(worker, backward);
    const ptrdiff_t x_dbl_step = n->dt_rank + 2 * n->d_state;
    const float *dt = w->x_dbl[computed] + first * x_dbl_step;
    float *delta = w->delta + worker->member.index * RUN * n->d_inner;
    return (struct scan){
        .length = tokens.end - tokens.begin, .channels = n->d_inner, .d_state = n->d_state,
        .delta_softplus = 1, .accumulate = d, .scale = is_last ? n->scale : 1.0f,
        .u = w->u[computed] + first * n->d_inner, .u_step = sign * n->d_inner,
        .delta = delta, .delta_step = n->d_inner, .delta_bias = direction->dt_bias,
        .dt_proj = {direction->dt_proj, dt, NULL, delta, sign * x_dbl_step, 0, n->d_inner},
        .A = direction->A, .D = direction->D,
        .B = dt + n->dt_rank, .B_step = sign * x_dbl_step,
        .C = dt + n->dt_rank + n->d_state, .C_step = sign * x_dbl_step,
        .z = is_last ? w->xz + first * 2 * n->d_inner + n->d_inner : NULL,
        .z_step = sign * 2 * n->d_inner,
        .out = w->xz + first * 2 * n->d_inner, .out_step = sign * 2 * n->d_inner};
}

/* u, dt, B, C and z -> y (L, Dn), the directions summed and gated, in x's place. */
static void FN(scan)(
    struct worker *worker, const struct layer *layer, struct range channels)
{
    const struct scan of_direction[2] = {
        FN(scan_task)(worker, layer, 0), FN(scan_task)(worker, layer, 1)};
    const struct scans task = {worker->n->directions, of_direction};
    FN(scan_channels)(&task, channels.begin, channels.end);
    book(worker, STEP_SCAN);
}

/* residual += y @ out_proj; or where it waits, hidden = y @ out_proj, to which a block's second layer
 * adds. */
static void FN(out_proj)(
    struct worker *worker, const struct layer *layer, struct range tokens)
{
    const struct network *n = worker->n;
    float *hidden = FN(hidden)(worker), *out = hidden ? hidden : worker->w->residual;
    const struct product p = {
        layer->out_proj, worker->w->xz, hidden && !layer->is_flipped ? NULL : out, out,
        2 * n->d_inner, n->embed_dim, n->embed_dim};
    FN(product)(&p, tokens, (struct range){0, n->embed_dim});
    book(worker, STEP_OUT_PROJ);
}

/* normed (L, E) -> residual (L, E), or hidden; and what comes before the next block. */
static void FN(mixer)(struct worker *worker, int index)
{
    const struct network *n = worker->n;
    const struct layer *layer = &n->layers[index];
    struct range channels, tokens;
    worker->layer = index;
    while (take_next(worker, &channels))
        for (ptrdiff_t t = 0; t < n->length; t += BLOCK) { /* x is in the cache when it is read */
            const struct range time = {t, t + BLOCK < n->length ? t + BLOCK : n->length};
            FN(in_proj)(worker, layer, channels, FN(reversed)(worker, time, layer->is_flipped));
            FN(causal_conv1d)(worker, layer, channels, time);
        }
    while (take_next(worker, &tokens))
        FN(x_proj)(worker, layer, tokens);
    while (take_next(worker, &channels))
        FN(scan)(worker, layer, channels); /* with dt_proj */
    while (take_next(worker, &tokens)) {
        tokens = common(tokens, worker->needed);
        worker->layer = index;
        FN(out_proj)(worker, layer, tokens);
        if ((index + 1) % n->layers_in_block == 0)
            FN(begin_block)(worker, index + 1, tokens);
    }
}

/* ---- Head ---- */

/* The mean of the pooled tokens, or of all: (E,). */
static void FN(mean_of_tokens)(const struct worker *worker, float *features)
{
    const struct network *n = worker->n;
    const ptrdiff_t number = n->number_of_pooled_tokens ? n->number_of_pooled_tokens : n->length;
    for (ptrdiff_t c = 0; c < n->embed_dim; c += W) {
        const int lanes = FN(lanes_from)(c, n->embed_dim);
        FN(vec) sum = FN(set1)(0.0f);
        for (ptrdiff_t i = 0; i < number; i++) {
            const ptrdiff_t t = n->number_of_pooled_tokens ? n->pooled_tokens[i] : i;
            sum += FN(load)(worker->w->normed[0] + t * n->embed_dim + c, lanes);
        }
        FN(store)(features + c, sum / (float)number, lanes);
    }
}

/* What the head reads, if it is the mean of some tokens; and into `out` what is asked for without it. */
static void FN(pool)(struct worker *worker, float *out)
{
    const struct network *n = worker->n;
    const enum output output = worker->pass->output;
    struct range whole;
    while (take_next(worker, &whole)) {
        if (output == OUTPUT_TOKENS || (output == OUTPUT_FEATURES && n->pooling != POOL_MEAN))
            memcpy(out, worker->w->normed[0], sizeof(float) * (size_t)(n->length * n->embed_dim));
        else if (n->pooling == POOL_MEAN)
            FN(mean_of_tokens)(worker, output == OUTPUT_FEATURES ? out : worker->w->features);
        book(worker, STEP_POOL);
    }
}

/* Of each class the largest of all tokens' logits, NaN if one is. */
static void FN(largest_of_tokens)(const struct worker *worker, float *logits, struct range classes)
{
    const struct network *n = worker->n;
    for (ptrdiff_t t = 0; t < n->length; t++)
        for (ptrdiff_t c = classes.begin; c < classes.end; c++) {
            const float logit = worker->w->token_logits[t * n->classes + c];
            if (t == 0 || logit > logits[c] || logit != logit)
                logits[c] = logit;
        }
}

/* features, or normed (L, E) -> logits. */
static void FN(head)(struct worker *worker, float *logits)
{
    const struct network *n = worker->n;
    const int every = n->pooling != POOL_MEAN;
    const struct product p = {
        n->head, every ? worker->w->normed[0] : worker->w->features, n->head_bias,
        n->pooling == POOL_MAX ? worker->w->token_logits : logits, n->embed_dim, 0, n->classes};
    struct range classes;
    while (take_next(worker, &classes)) {
        FN(product)(&p, (struct range){0, every ? n->length : 1}, classes);
        if (n->pooling == POOL_MAX)
            FN(largest_of_tokens)(worker, logits, classes);
        book(worker, STEP_HEAD);
    }
}

/* ---- The pass ---- */

/* What a layer has to hand on: every token, but of the last block, if one is pooled, that one. */
INLINE struct range FN(tokens_needed)(const struct worker *worker, int layer)
{
    const struct network *n = worker->n;
    const ptrdiff_t t = n->pooled_tokens[0];
    if (layer + n->layers_in_block >= n->depth && n->number_of_pooled_tokens == 1 &&
        worker->pass->output != OUTPUT_TOKENS)
        return (struct range){t, t + 1};
    return (struct range){0, n->length};
}

static void FN(forward_image)(struct worker *worker, const float *pixels, float *out)
{
    struct range tokens;
    while (take_next(worker, &tokens)) {
        worker->layer = BETWEEN_LAYERS;
        FN(embed)(worker, pixels, tokens);
        FN(begin_block)(worker, 0, tokens);
    }
    for (int i = 0; i < worker->n->depth; i++) {
        worker->needed = FN(tokens_needed)(worker, i);
        FN(mixer)(worker, i);
    }
    worker->layer = BETWEEN_LAYERS;
    FN(pool)(worker, out);
    FN(head)(worker, out);
}

static void FN(forward)(const void *task, struct member member)
{
    const struct pass *pass = task;
    struct worker worker = {
        .pass = pass, .n = pass->network, .w = &pass->workspace, .member = member,
        .layer = BETWEEN_LAYERS, .clock = pass->begin};
    if (pass->spans) {
        worker.spans = pass->spans + member.index * pass->capacity;
        worker.last_span = worker.spans + pass->capacity;
    }
    book(&worker, STEP_WAIT); /* for its waking */
    for (int i = 0; i < pass->images; i++)
        FN(forward_image)(&worker, pass->pixels[i], pass->out + i * pass->out_step);
}
