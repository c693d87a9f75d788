/* A thread's way through a program: the one interpreter of every network.
 *
 * Included once for each instruction set by kernels.h. No sum is ever split among threads, so the
 * result's bits do not depend on their number.
 */

/* Of rows or columns, if they are not split. */
static const struct extent FN(every) = {0, PTRDIFF_MAX / 2};

static void FN(run_embed)(
    const struct worker *worker, const struct embed_operation *e, struct extent rows)
{
    FN(embed_tokens)(
        e, first_row(worker, e->pixels), first_row(worker, e->out), worker->scratch, rows);
}

static void FN(run_lookup)(
    const struct worker *worker, const struct lookup_operation *l, struct extent rows)
{
    const int *ids = (const int *)worker->buffers[l->ids.buffer];
    FN(lookup_rows)(&l->table, ids, first_row(worker, l->out), l->out.stride, rows);
}

static void FN(run_norm)(
    const struct worker *worker, const struct norm_operation *n, struct extent rows)
{
    const struct add_norm task = {
        .length = rows.end, .channels = n->channels, .epsilon = n->epsilon,
        .residual = first_row(worker, n->residual), .residual_stride = n->residual.stride,
        .hidden = first_row(worker, n->hidden), .hidden_stride = n->hidden.stride,
        .gate = first_row(worker, n->gate), .gate_stride = n->gate.stride, .activation = n->activation,
        .weight = n->weight, .bias = n->bias,
        .out = first_row(worker, n->out), .out_stride = n->out.stride};
    FN(add_norm_tokens)(&task, rows.begin, rows.end);
}

/* Where columns are split, other threads write theirs at any time: so no operation writes what a product of
 * the stage reads, and each thread quantises it once. */
static void FN(run_product)(
    struct worker *worker, const struct product_operation *p, struct extent rows,
    struct extent columns)
{
    const struct product task = {
        .weights = p->weights, .bias = p->bias, .activation = p->activation,
        .x = first_row(worker, p->x), .x_stride = p->x.stride, .is_quantised = p->is_quantised,
        .addend = first_row(worker, p->addend), .addend_stride = p->addend.stride,
        .out = first_row(worker, p->out), .out_stride = p->out.stride,
        .scratch = worker->scratch, .kept = columns.end < FN(every).end ? &worker->kept : NULL};
    /* Products write whole vectors: what follows `columns` in the last one belongs to it. */
    const ptrdiff_t end = p->column + (columns.end + W - 1) / W * W;
    const struct extent outputs = {p->column + columns.begin, end};
    FN(product)(&task, rows, common(outputs, (struct extent){0, p->weights.outputs}));
}

static void FN(run_quantise)(
    const struct worker *worker, const struct quantise_operation *q, struct extent rows)
{
    FN(quantise_for)(
        &q->weights, first_row(worker, q->x), q->x.stride, first_row(worker, q->out), q->out.stride, rows);
}

static void FN(run_conv1d)(
    const struct worker *worker, const struct conv1d_operation *c, struct extent time,
    struct extent channels)
{
    struct convolution task = {
        .length = c->length, .channels = c->channels, .taps = c->taps, .silu = c->silu,
        .directions = c->directions, .coarse = c->coarse, .positions = time,
        .x = first_row(worker, c->x), .x_stride = c->x.stride, .state = first_row(worker, c->state)};
    if (time.end == c->length)
        task.positions.end = last_position(&task);
    for (int d = 0; d < c->directions; d++)
        task.filters[d] = (struct filter){
            c->filters[d].weight, c->filters[d].bias, first_row(worker, c->filters[d].out),
            c->filters[d].out.stride};
    FN(convolve_channels)(&task, channels.begin, channels.end);
}

/* The tokens whose windows are complete with these rows of x. */
static void FN(run_conv2d)(
    const struct worker *worker, const struct conv2d_operation *c, struct extent rows,
    struct extent channels)
{
    struct convolution_2d task = {
        .height = c->height, .width = c->width, .channels = c->channels, .kernel = c->kernel,
        .silu = c->silu, .coarse = c->coarse, .weight = c->weight, .bias = c->bias,
        .x = first_row(worker, c->x), .x_stride = c->x.stride,
        .out = first_row(worker, c->out), .out_stride = c->out.stride};
    task.tokens = (struct extent){tokens_ready(&task, rows.begin), tokens_ready(&task, rows.end)};
    FN(convolve_channels_2d)(&task, channels.begin, channels.end);
}

static void FN(run_patches)(
    const struct worker *worker, const struct patches_operation *p, struct extent rows)
{
    FN(gather_rows)(
        &p->patches, first_row(worker, p->patches.x), first_row(worker, p->out), p->out.stride, rows);
}

static void FN(run_conv)(
    const struct worker *worker, const struct conv_operation *c, struct extent rows)
{
    FN(convolve_rows)(
        c, first_row(worker, c->patches.x), first_row(worker, c->out), worker->scratch, rows);
}

/* A direction's task: the first one writes, the others add, the last one gates the sum and scales it. */
INLINE struct scan FN(scan_task)(
    const struct worker *worker, const struct scan_operation *s, int index)
{
    const struct scan_direction *d = &s->of_direction[index];
    const int projects = d->dt_proj.inputs > 0, gathers = projects && d->walk.lines > 0;
    float *dt_of_chunk = worker->scratch + CHUNK * s->channels;
    return (struct scan){
        .length = d->length, .channels = s->channels, .d_state = s->d_state,
        .walk = d->walk, .dt_of_chunk = dt_of_chunk,
        .delta_softplus = 1, .accumulate = index, .coarse = s->coarse,
        .scale = index + 1 == s->directions ? s->scale : 1.0f,
        .u = first_row(worker, d->u), .u_stride = d->u.stride,
        .delta = projects ? worker->scratch : first_row(worker, d->delta),
        .delta_stride = projects ? s->channels : d->delta.stride, .delta_bias = d->delta_bias,
        .dt_proj = {
            .weights = d->dt_proj, .x = first_row(worker, d->dt), .x_stride = d->dt.stride,
            .out = worker->scratch, .out_stride = s->channels,
            .scratch = dt_of_chunk + (gathers ? CHUNK * d->dt_proj.inputs : 0)},
        .A = d->A, .D = d->D,
        .B = first_row(worker, d->B), .B_stride = d->B.stride,
        .C = first_row(worker, d->C), .C_stride = d->C.stride,
        .z = first_row(worker, d->z), .z_stride = d->z.stride,
        .initial_state = first_row(worker, d->state), .last_state = first_row(worker, d->state),
        .out = first_row(worker, d->out), .out_stride = d->out.stride};
}

static void FN(run_scan)(
    struct worker *worker, const struct scan_operation *s, struct extent channels)
{
    worker->kept.x = NULL; /* it has the scratch */
    struct scan of_direction[MAX_DIRECTIONS];
    for (int d = 0; d < s->directions; d++)
        of_direction[d] = FN(scan_task)(worker, s, d);
    const struct scans task = {s->directions, of_direction};
    FN(scan_channels)(&task, channels.begin, channels.end);
}

/* An operation, on these rows and columns. */
static void FN(operate)(
    struct worker *worker, const struct op *op, struct extent rows,
    struct extent columns)
{
    const struct reduction_operation *r = &op->of.reduction;
    rows = common(rows, op->rows);
    if (rows.begin == rows.end)
        return;
    switch (op->kind) {
    case OPERATION_EMBED: FN(run_embed)(worker, &op->of.embed, rows); break;
    case OPERATION_LOOKUP: FN(run_lookup)(worker, &op->of.lookup, rows); break;
    case OPERATION_ROTATE:
        FN(rotate_tokens)(&op->of.rotate, first_row(worker, op->of.rotate.tokens), rows);
        break;
    case OPERATION_NORM: FN(run_norm)(worker, &op->of.norm, rows); break;
    case OPERATION_PRODUCT: FN(run_product)(worker, &op->of.product, rows, columns); break;
    case OPERATION_QUANTISE: FN(run_quantise)(worker, &op->of.quantise, rows); break;
    case OPERATION_CONV1D: FN(run_conv1d)(worker, &op->of.conv1d, rows, columns); break;
    case OPERATION_SCAN: FN(run_scan)(worker, &op->of.scan, columns); break;
    case OPERATION_MEAN: FN(mean_of_rows)(r, first_row(worker, r->x), first_row(worker, r->out)); break;
    case OPERATION_LARGEST:
        FN(largest_of_rows)(r, first_row(worker, r->x), first_row(worker, r->out), columns);
        break;
    case OPERATION_CONV2D: FN(run_conv2d)(worker, &op->of.conv2d, rows, columns); break;
    case OPERATION_PATCHES: FN(run_patches)(worker, &op->of.patches, rows); break;
    case OPERATION_CONV: FN(run_conv)(worker, &op->of.conv, rows); break;
    case OPERATION_COPY: FN(copy_rows)(r, first_row(worker, r->x), first_row(worker, r->out), rows); break;
    case OPERATION_ADD: FN(add_rows)(r, first_row(worker, r->x), first_row(worker, r->out), rows); break;
    }
    worker->layer = op->layer;
    book(worker, op->label);
}

/* What a thread has to have of its own before its first part of a stage. */
static void FN(prepare)(struct worker *worker, const struct stage *stage)
{
    for (ptrdiff_t i = 0; i < stage->prepared; i++)
        FN(operate)(worker, &stage->operations[i], FN(every), FN(every));
}

static void FN(operate_all)(
    struct worker *worker, const struct stage *stage, struct extent rows,
    struct extent columns)
{
    for (ptrdiff_t i = stage->prepared; i < stage->count; i++)
        FN(operate)(worker, &stage->operations[i], rows, columns);
}

/* This thread's parts of a stage. Rows, split or not, pass in blocks: what one operation has written of a
 * block is in the cache when the next one reads it. */
static void FN(run_stage)(struct worker *worker, const struct stage *stage)
{
    struct extent part;
    worker->kept.x = NULL;
    for (int is_first = 1; take_next(worker, &part); is_first = 0) {
        if (is_first)
            FN(prepare)(worker, stage);
        const int is_of_rows = stage->split == SPLIT_ROWS;
        const struct extent rows = is_of_rows ? part : (struct extent){0, stage->rows};
        for (ptrdiff_t t = rows.begin; t < rows.end; t += stage->block) {
            const struct extent block = common(rows, (struct extent){t, t + stage->block});
            FN(operate_all)(worker, stage, block, is_of_rows ? FN(every) : part);
        }
    }
}

static void FN(forward)(const void *task, struct member member)
{
    const struct pass *pass = task;
    struct worker worker = begin_work(pass, member);
    book(&worker, LABEL_WAIT); /* for its waking */
    for (int i = 0; i < pass->inputs; i++) {
        take_input(&worker, i);
        for (ptrdiff_t s = 0; s < pass->program->count; s++)
            FN(run_stage)(&worker, &pass->program->stages[s]);
    }
}
