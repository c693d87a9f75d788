/* A task, split among the threads of an OpenMP team, and how its threads wait.
 *
 * The threads sleep between regions (vimnp.runtime.threads says why), and to wake one takes 20 to 250
 * microseconds. So parts are dealt out while they last, large ones first: the calling thread begins at
 * once, and whoever comes late takes fewer. stages.h has the same for a task of many steps.
 */
#ifndef VIMNP_TEAM_H
#define VIMNP_TEAM_H

#include <stddef.h>
#include <stdint.h>

#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#define VIMNP_YIELD sched_yield()
#else
#define VIMNP_YIELD ((void)0)
#endif
#ifdef _OPENMP
#include <omp.h>
#define VIMNP_OPENMP 1
#else
#define VIMNP_OPENMP 0
#endif

/* Threads that wait awake, or take work from each other, need atomic operations. */
#if VIMNP_OPENMP && defined(__GNUC__)
#define VIMNP_ATOMIC 1
#else
#define VIMNP_ATOMIC 0
#endif

/* Runs the part of a task from item `begin` to `end`. */
typedef void (*part_function)(const void *task, ptrdiff_t begin, ptrdiff_t end);

/* A task whose items up to `next` are dealt out. */
struct deal {
    ptrdiff_t next, length, step;
    int team;
};

/* Deals out the next part, half of an equal share of what is left: its beginning, and its end. */
static ptrdiff_t next_part(struct deal *d, ptrdiff_t *end)
{
    const ptrdiff_t begin = d->next, left = d->length - begin;
    ptrdiff_t size = left / (d->team > 1 ? 2 * d->team : 1);
    size = size < d->step ? d->step : size / d->step * d->step;
    *end = d->next = begin + (size < left ? size : left);
    return begin;
}

#if VIMNP_ATOMIC
/* Waits until `count` is `enough` or the time is over: awake, since to be woken would cost as much as
 * the last part, but yielding the core to a thread that is queued there. */
static void wait_awake(const ptrdiff_t *count, ptrdiff_t enough, double seconds)
{
    const double give_up = omp_get_wtime() + seconds;
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < enough && omp_get_wtime() < give_up)
        VIMNP_YIELD;
}
#endif

/* All `length` items of a task; a part has a multiple of `step` items. */
static void run_parts(
    part_function run, const void *task, ptrdiff_t length, ptrdiff_t step, int num_threads)
{
    const ptrdiff_t steps = (length + step - 1) / step;
    struct deal deal = {0, length, step, num_threads < steps ? num_threads : (int)steps};
#if VIMNP_OPENMP
    if (deal.team > 1) {
#if VIMNP_ATOMIC
        ptrdiff_t finished = 0;
#endif
#pragma omp parallel num_threads(deal.team)
        {
            ptrdiff_t begin, end;
            do {
#pragma omp critical(vimnp_deal)
                begin = next_part(&deal, &end);
                run(task, begin, end);
            } while (begin < end);
#if VIMNP_ATOMIC /* else it sleeps at the region's end */
            __atomic_add_fetch(&finished, 1, __ATOMIC_RELEASE);
            if (omp_get_thread_num() == 0)
                wait_awake(&finished, omp_get_num_threads(), 50e-6);
#endif
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

#endif
