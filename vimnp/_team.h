/* A task, split among the threads of an OpenMP team: in parts that are dealt out, or step by step
 * together.
 *
 * The threads sleep between regions (vimnp.threads says why), and to wake one takes 20 to 250
 * microseconds. So a single kernel's parts are dealt out while they last, large ones first: the calling
 * thread begins at once, and whoever comes late takes fewer. A whole pass wakes its threads once, and goes
 * through stages; in each a thread has a share, which is in its cache, and helps the others when it is
 * through. A stage is over when all of it is done: nobody waits for a thread that has nothing in hand.
 */
#ifndef VIMNP_TEAM_H
#define VIMNP_TEAM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "_tasks.h"

#ifdef __unix__
#include <sched.h>
#endif
#ifdef _OPENMP
#include <omp.h>
#define VIMNP_OPENMP 1
#else
#define VIMNP_OPENMP 0
#endif

#define NO_LIMIT PTRDIFF_MAX
/* Whether several threads go through stages: that takes atomic operations. */
#if VIMNP_OPENMP && defined(__GNUC__)
#define VIMNP_STAGES_SHARED 1
#else
#define VIMNP_STAGES_SHARED 0
#endif

/* Runs the part of a task from item `begin` to `end`. */
typedef void (*part_function)(const void *task, ptrdiff_t begin, ptrdiff_t end);

/* A task whose items up to `next` are dealt out. */
struct deal {
    ptrdiff_t next, length, step, most;
    int team;
};

/* Deals out the next part, half of an equal share of what is left: its beginning, and its end. */
static ptrdiff_t next_part(struct deal *d, ptrdiff_t *end)
{
    const ptrdiff_t begin = d->next, left = d->length - begin;
    ptrdiff_t size = left / (d->team > 1 ? 2 * d->team : 1);
    size = size < d->most ? size : d->most;
    size = size < d->step ? d->step : size / d->step * d->step;
    *end = d->next = begin + (size < left ? size : left);
    return begin;
}

#if VIMNP_OPENMP
/* Waits until `count` is `enough` or the time is over: awake, since to be woken would cost as much as the
 * last part, but yielding the core to a thread that is queued there. */
static void wait_awake(const ptrdiff_t *count, ptrdiff_t enough, double seconds)
{
#ifdef __unix__
    const double give_up = omp_get_wtime() + seconds;
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < enough && omp_get_wtime() < give_up)
        sched_yield();
#else
    (void)count, (void)enough, (void)seconds; /* asleep, at the region's end */
#endif
}

static void count_one_more(ptrdiff_t *count)
{
#ifdef __unix__
    __atomic_add_fetch(count, 1, __ATOMIC_ACQ_REL);
#else
    (void)count;
#endif
}
#endif

/* All `length` items of a task; a part has a multiple of `step` items, and no more than `most`. */
static void run_parts(
    part_function run, const void *task, ptrdiff_t length, ptrdiff_t step, ptrdiff_t most,
    int num_threads)
{
    const ptrdiff_t steps = (length + step - 1) / step;
    struct deal deal = {0, length, step, most, num_threads < steps ? num_threads : (int)steps};
#if VIMNP_OPENMP
    if (deal.team > 1) {
        ptrdiff_t finished = 0;
#pragma omp parallel num_threads(deal.team)
        {
            ptrdiff_t begin, end;
            do {
#pragma omp critical(vimnp_deal)
                begin = next_part(&deal, &end);
                run(task, begin, end);
            } while (begin < end);
            count_one_more(&finished);
            if (omp_get_thread_num() == 0)
                wait_awake(&finished, omp_get_num_threads(), 50e-6);
        }
        return;
    }
#endif
    deal.team = 1; /* and no lock, which a forked child might find locked for ever */
    while (deal.next < length) {
        ptrdiff_t end;
        const ptrdiff_t begin = next_part(&deal, &end);
        run(task, begin, end);
    }
}

/* ---- Stages ---- */

/* What is left of a thread's share. */
struct share {
    ptrdiff_t next, end;
};

/* Items to be worked on in parts, and a share of them for each thread. */
struct stage {
    ptrdiff_t length, step, done;
    struct share shares[];
};

/* Stages, one after the other in memory. */
struct stages {
    char *first;
    size_t size; /* of a stage */
    int shares;  /* in a stage */
};

/* One of the threads that go through stages together. */
struct member {
    int index, team;
};

/* Bytes of a stage, whole cache lines. */
static size_t stage_size(int shares)
{
    return (sizeof(struct stage) + (size_t)shares * sizeof(struct share) + 63) / 64 * 64;
}

static struct stage *stage_at(const struct stages *s, ptrdiff_t index)
{
    return (struct stage *)(s->first + (size_t)index * s->size);
}

/* Items in whole steps, so many of them to each share. */
static void deal_stage(const struct stages *s, ptrdiff_t index, ptrdiff_t length, ptrdiff_t step)
{
    struct stage *stage = stage_at(s, index);
    const ptrdiff_t steps = (length + step - 1) / step;
    stage->length = length;
    stage->step = step;
    stage->done = 0;
    for (int i = 0; i < s->shares; i++) {
        const ptrdiff_t end = steps * (i + 1) / s->shares * step;
        stage->shares[i].next = steps * i / s->shares * step;
        stage->shares[i].end = end < length ? end : length;
    }
}

#if VIMNP_STAGES_SHARED
/* Takes half of what is left of a share, or all if `whole`. 0 if nothing is left. */
static int take_from(struct share *share, ptrdiff_t step, int whole, struct range *part)
{
    ptrdiff_t next = __atomic_load_n(&share->next, __ATOMIC_RELAXED), size;
    do {
        const ptrdiff_t left = share->end - next, half = left / 2 / step * step;
        size = whole || left < step ? left : half > step ? half : step;
        if (size <= 0)
            return 0;
    } while (!__atomic_compare_exchange_n(
        &share->next, &next, next + size, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    *part = (struct range){next, next + size};
    return 1;
}

static void finish_part(struct stage *stage, struct range part)
{
    __atomic_add_fetch(&stage->done, part.end - part.begin, __ATOMIC_ACQ_REL);
}
#else
static int take_from(struct share *share, ptrdiff_t step, int whole, struct range *part)
{
    (void)step, (void)whole;
    *part = (struct range){share->next, share->end};
    share->next = share->end;
    return part->begin < part->end;
}

static void finish_part(struct stage *stage, struct range part)
{
    stage->done += part.end - part.begin;
}
#endif

/* A part of the member's own share, else of another's. 0 if all are taken. */
static int take_part(const struct stages *s, struct stage *stage, struct member m, struct range *part)
{
    for (int i = 0; i < s->shares; i++) {
        struct share *share = &stage->shares[(m.index + i) % s->shares];
        if (take_from(share, stage->step, m.team == 1, part))
            return 1;
    }
    return 0;
}

static void wait_for_others(struct stage *stage)
{
#if VIMNP_STAGES_SHARED
    wait_awake(&stage->done, stage->length, INFINITY);
#else
    (void)stage;
#endif
}

/* A member's way through the stages of a task. */
typedef void (*member_function)(const void *task, struct member member);

static void run_together(member_function run, const void *task, int num_threads)
{
#if VIMNP_STAGES_SHARED
    if (num_threads > 1) {
#pragma omp parallel num_threads(num_threads)
        run(task, (struct member){omp_get_thread_num(), omp_get_num_threads()});
        return;
    }
#else
    (void)num_threads;
#endif
    run(task, (struct member){0, 1});
}

/* ---- Small things ---- */

/* What is in both; ends where it begins if nothing is. */
static struct range common(struct range a, struct range b)
{
    const ptrdiff_t begin = a.begin > b.begin ? a.begin : b.begin;
    const ptrdiff_t end = a.end < b.end ? a.end : b.end;
    return (struct range){begin, end > begin ? end : begin};
}

/* For durations. */
static double seconds_now(void)
{
#if VIMNP_OPENMP
    return omp_get_wtime();
#else
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}

#endif
