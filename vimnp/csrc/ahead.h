/* Matrices are asked for before they are multiplied, so that they come from memory meanwhile. */

#ifndef VIMNP_AHEAD_H
#define VIMNP_AHEAD_H

#include <stddef.h>

#include "operands.h"

#define CACHE_LINE (LINE * (int)sizeof(float)) /* bytes */

/* How far ahead of a single row a matrix is fetched, in bytes: processors that fetch ahead by themselves stop at
 * each page of 4 KB, and codes and scales are two streams. */
#define AHEAD 3072

/* Tiles of rows in whose time the panel after theirs comes: a block of ROWS_AT_ONCE has a few more. */
#define TILES_TO_FETCH_IN 16

/* A line of memory is asked for; it may be any address. */
static inline void prefetch(const char *line)
{
#if defined(__GNUC__) || defined(__clang__)
    __builtin_prefetch(line);
#else
    (void)line;
#endif
}

/* A tile's share of the panel that begins at `ahead`, a line of it at some of the inputs k of the tile. A panel
 * has so many bytes for an input. All at once, before the tile, they would hold up each other and the tile.
 * Only where it was measured: ARM's products are left as they are. */
static inline void fetch_share(const char *ahead, ptrdiff_t k, const int bytes)
{
#if defined(__x86_64__) || defined(_M_X64)
    const int inputs = TILES_TO_FETCH_IN * CACHE_LINE / bytes;
    if (k % inputs == 0)
        prefetch(ahead + k / inputs * CACHE_LINE);
#else
    (void)ahead, (void)k, (void)bytes;
#endif
}

/* Where the next tile's share begins. */
static inline const char *after_share(const char *ahead, ptrdiff_t inputs, const int bytes)
{
    return ahead + inputs * bytes / TILES_TO_FETCH_IN;
}

#endif
