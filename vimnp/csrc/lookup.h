/* Embedding lookup: tokens by their ids.
 *
 * Included once for each instruction set by kernels.h. The table is a matrix (inputs, outputs) as products
 * read it, because the same matrix multiplies as the head where the two are tied. An embedding is one of its
 * columns, so its numbers lie a panel's width apart: of a pass that reads every matrix, a small part.
 */

static void FN(lookup_float32)(const struct matrix *table, ptrdiff_t id, float *out)
{
    const struct FN(panel) panel = FN(panel_at)(table, id, id + 1);
    for (ptrdiff_t k = 0; k < table->inputs; k++)
        out[k] = panel.from[k * panel.stride];
}

INLINE float FN(float_of)(uint16_t bfloat16)
{
    const uint32_t bits = (uint32_t)bfloat16 << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void FN(lookup_bfloat16)(const struct matrix *table, ptrdiff_t id, float *out)
{
    const ptrdiff_t pairs = (table->inputs + 1) / 2;
    const uint16_t *from = (const uint16_t *)table->codes + id / SMALL_PANEL * pairs * 2 * SMALL_PANEL +
                           id % SMALL_PANEL * 2;
    for (ptrdiff_t k = 0; k < table->inputs; k++)
        out[k] = FN(float_of)(from[k / 2 * 2 * SMALL_PANEL + k % 2]);
}

/* Four neighbouring inputs of an output lie in four bytes of a line; for int4, four more above them. */
INLINE void FN(lookup_blocks)(
    const struct matrix *table, ptrdiff_t id, float *out, const enum dtype dtype)
{
    const ptrdiff_t blocks = (table->inputs + SHARED - 1) / SHARED, panel = id / SMALL_PANEL;
    const int lane = (int)(id % SMALL_PANEL), inputs = dtype == DTYPE_INT8 ? 4 : 8;
    const ptrdiff_t lines = SHARED / inputs;
    const uint8_t *codes = (const uint8_t *)table->codes + panel * blocks * lines * 64 + lane * 4;
    const uint16_t *scales = table->scales + panel * blocks * SMALL_PANEL + lane;
    for (ptrdiff_t k = 0; k < table->inputs; k++) {
        const int byte = codes[k / inputs * 64 + k % 4];
        const int code = dtype == DTYPE_INT8 ? byte - 128 : (byte >> k % inputs / 4 * 4 & 15) - 8;
        out[k] = (float)code * FN(float_of)(scales[k / SHARED * SMALL_PANEL]);
    }
}

/* Embeddings (rows, inputs) of the ids, exactly as the table has them. */
static void FN(lookup_rows)(
    const struct matrix *table, const int *ids, float *out, ptrdiff_t out_stride, struct extent rows)
{
    for (ptrdiff_t row = rows.begin; row < rows.end; row++) {
        float *to = out + row * out_stride;
        switch (table->dtype) {
        case DTYPE_FLOAT32: FN(lookup_float32)(table, ids[row], to); break;
        case DTYPE_BFLOAT16: FN(lookup_bfloat16)(table, ids[row], to); break;
        case DTYPE_INT8: FN(lookup_blocks)(table, ids[row], to, DTYPE_INT8); break;
        case DTYPE_INT4: FN(lookup_blocks)(table, ids[row], to, DTYPE_INT4); break;
        case DTYPE_INT8_PER_CHANNEL: break; /* the builder refuses tables of it */
        }
    }
}
