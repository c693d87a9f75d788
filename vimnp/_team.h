/* A task, split among the threads of an OpenMP team.
 *
 * The threads sleep between regions (vimnp.threads says why), and to wake one takes 20 to 250
 * microseconds. So parts are dealt out while they last, large ones first: the calling thread begins at
 * once, and whoever comes late takes fewer.
 */
#ifndef VIMNP_TEAM_H
#define VIMNP_TEAM_H

#include <stddef.h>
#include <stdint.h>

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
/* The calling thread waits awake for the others, since to be woken again would cost as much as the last
 * part: but not for long, and it yields its core to a thread that is queued there. */
static void wait_awake(int *finished, int team)
{
#ifdef __unix__
    __atomic_add_fetch(finished, 1, __ATOMIC_RELEASE);
    if (omp_get_thread_num() != 0)
        return;
    const double give_up = omp_get_wtime() + 50e-6;
    while (__atomic_load_n(finished, __ATOMIC_ACQUIRE) < team && omp_get_wtime() < give_up)
        sched_yield();
#else
    (void)finished, (void)team; /* asleep */
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
        int finished = 0;
#pragma omp parallel num_threads(deal.team)
        {
            ptrdiff_t begin, end;
            do {
#pragma omp critical(vimnp_deal)
                begin = next_part(&deal, &end);
                run(task, begin, end);
            } while (begin < end);
            wait_awake(&finished, omp_get_num_threads());
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
