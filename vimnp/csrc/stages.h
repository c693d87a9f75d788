/* A task of many stages that the threads of one team go through together.
 *
 * The team is woken once. In each stage a thread has a share, which is in its cache from the stages
 * before, and helps the others when it is through: cores are seldom equally fast. A stage is over when
 * all of it is done, not when every thread has come: nobody waits for a thread that has nothing in
 * hand, because it has not woken yet or another process has its core.
 */
#ifndef VIMNP_STAGES_H
#define VIMNP_STAGES_H

#include <math.h>
#include <stddef.h>

#include "operands.h"
#include "team.h"

/* What is left of a thread's share. */
struct share {
    ptrdiff_t next, end;
};

/* How far a stage is: items to be worked on in parts, and a share of them for each thread. */
struct progress {
    ptrdiff_t length, grain, done;
    struct share shares[];
};

/* That of several stages, one after the other in memory. */
struct progress_list {
    char *first;
    size_t size; /* of a stage */
    int shares;  /* in a stage */
};

/* Bytes of a stage, whole cache lines. */
static size_t progress_size(int shares)
{
    return (sizeof(struct progress) + (size_t)shares * sizeof(struct share) + 63) / 64 * 64;
}

static struct progress *progress_at(const struct progress_list *s, ptrdiff_t index)
{
    return (struct progress *)(s->first + (size_t)index * s->size);
}

/* Items in whole grains, so many of them to each share. */
static void deal_stage(const struct progress_list *s, ptrdiff_t index, ptrdiff_t length, ptrdiff_t grain)
{
    struct progress *stage = progress_at(s, index);
    const ptrdiff_t grains = (length + grain - 1) / grain;
    stage->length = length;
    stage->grain = grain;
    stage->done = 0;
    for (int i = 0; i < s->shares; i++) {
        const ptrdiff_t end = grains * (i + 1) / s->shares * grain;
        stage->shares[i].next = grains * i / s->shares * grain;
        stage->shares[i].end = end < length ? end : length;
    }
}

#if VIMNP_ATOMIC
/* Takes half of what is left of a share, or all if `whole`. 0 if nothing is left. */
static int take_from(struct share *share, ptrdiff_t grain, int whole, struct extent *part)
{
    ptrdiff_t next = __atomic_load_n(&share->next, __ATOMIC_RELAXED), size;
    do {
        const ptrdiff_t left = share->end - next, half = left / 2 / grain * grain;
        size = whole || left < grain ? left : half > grain ? half : grain;
        if (size <= 0)
            return 0;
    } while (!__atomic_compare_exchange_n(
        &share->next, &next, next + size, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    *part = (struct extent){next, next + size};
    return 1;
}

static void finish_part(struct progress *stage, struct extent part)
{
    __atomic_add_fetch(&stage->done, part.end - part.begin, __ATOMIC_ACQ_REL);
}
#else
static int take_from(struct share *share, ptrdiff_t grain, int whole, struct extent *part)
{
    (void)grain, (void)whole;
    *part = (struct extent){share->next, share->end};
    share->next = share->end;
    return part->begin < part->end;
}

static void finish_part(struct progress *stage, struct extent part)
{
    stage->done += part.end - part.begin;
}
#endif

/* A part of the member's own share, else of another's. 0 if all are taken. */
static int take_part(
    const struct progress_list *s, struct progress *stage, struct member m, struct extent *part)
{
    for (int i = 0; i < s->shares; i++) {
        struct share *share = &stage->shares[(m.index + i) % s->shares];
        if (take_from(share, stage->grain, m.team == 1, part))
            return 1;
    }
    return 0;
}

static void wait_for_others(struct progress *stage)
{
#if VIMNP_ATOMIC
    wait_awake(&stage->done, stage->length, INFINITY);
#else
    (void)stage;
#endif
}

/* Every member goes through the stages of a task. Without atomic operations it has one member. */
static void run_together(member_function call, const void *task, int num_threads)
{
#if VIMNP_ATOMIC
    run_region(call, task, num_threads);
#else
    (void)num_threads;
    call(task, (struct member){0, 1});
#endif
}

#endif
