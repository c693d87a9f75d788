/* A task, split among the threads of an OpenMP team: in parts that are dealt out, or step by step
 * together.
 *
 * The threads sleep between regions (vimnp.threads says why), and to wake one takes 20 to 250
 * microseconds. So a single kernel's parts are dealt out while they last, large ones first: the calling
 * thread begins at once, and whoever comes late takes fewer. A whole pass wakes its threads once, and each
 * keeps the same part of every step.
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

/* One of the threads that pass through a region together. */
struct member {
    ptrdiff_t *arrived; /* at meetings: of all of the team, in all of them */
    int index, team;
    ptrdiff_t meetings;
};

/* Runs a member's share of a task. */
typedef void (*member_function)(const void *task, struct member *member);

static void run_together(member_function run, const void *task, int num_threads)
{
    ptrdiff_t arrived = 0;
#if VIMNP_OPENMP
    if (num_threads > 1) {
#pragma omp parallel num_threads(num_threads)
        {
            struct member member = {&arrived, omp_get_thread_num(), omp_get_num_threads(), 0};
            run(task, &member);
        }
        return;
    }
#else
    (void)num_threads;
#endif
    struct member alone = {&arrived, 0, 1, 0};
    run(task, &alone);
}

/* No member goes on before all have come here. */
static void meet(struct member *m)
{
    m->meetings++;
#if VIMNP_OPENMP
    if (m->team == 1)
        return;
#ifdef __unix__
    count_one_more(m->arrived);
    wait_awake(m->arrived, m->meetings * m->team, INFINITY);
#else
#pragma omp barrier
#endif
#endif
}

/* A member's own part of a range, in whole steps from its beginning on. */
static struct range own_part(const struct member *m, struct range all, ptrdiff_t step)
{
    const ptrdiff_t steps = (all.end - all.begin + step - 1) / step;
    const ptrdiff_t begin = all.begin + steps * m->index / m->team * step;
    const ptrdiff_t end = all.begin + steps * (m->index + 1) / m->team * step;
    return (struct range){begin, end < all.end ? end : all.end};
}

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
