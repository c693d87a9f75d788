/* The order in which a scan passes the rows of its arrays.
 *
 * Rows are lines of tokens, one after the other, as the columns of a picture are: what is at a place in
 * memory stays there, and the scan goes to it.
 */
#ifndef VIMNP_WALK_H
#define VIMNP_WALK_H

#include <stddef.h>

/* Row of the first token; rows from a token to the next of its line, and from a line to the next one.
 * Without lines, it is row after row. */
struct walk {
    ptrdiff_t first, stride, length, line_stride, lines;
};

/* Whether it passes so many rows, and none outside of them. */
static int walk_fits(const struct walk *w, ptrdiff_t rows)
{
    if (w->lines < 1 || w->length < 1 || rows / w->lines != w->length || rows % w->lines != 0)
        return 0;
    const ptrdiff_t within = (w->length - 1) * w->stride, across = (w->lines - 1) * w->line_stride;
    const ptrdiff_t least = w->first + (within < 0 ? within : 0) + (across < 0 ? across : 0);
    const ptrdiff_t most = w->first + (within > 0 ? within : 0) + (across > 0 ? across : 0);
    return least >= 0 && most < rows;
}

/* The rows of some tokens. */
static inline void follow_walk(const struct walk *w, ptrdiff_t token, int number, ptrdiff_t *rows)
{
    ptrdiff_t line = token / w->length, place = token % w->length;
    for (int i = 0; i < number; i++) {
        rows[i] = w->first + line * w->line_stride + place * w->stride;
        if (++place == w->length)
            line++, place = 0;
    }
}

#endif
