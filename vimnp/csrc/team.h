/* A task, split among the threads of a team, and how its threads wait.
 *
 * A team is OpenMP's, or where the compiler has none our own (pool.h). Its threads sleep between regions
 * (vimnp.runtime.threads says why), and to wake one takes 20 to 250 microseconds. So parts are dealt out
 * while they last, large ones first: the calling thread begins at once, and whoever comes late takes
 * fewer. stages.h has the same for a task of many stages.
 */
#ifndef VIMNP_TEAM_H
#define VIMNP_TEAM_H

#include <stddef.h>
#include <stdint.h>

#include "clock.h"

#ifdef _OPENMP
#include <omp.h>
#define VIMNP_OPENMP 1
#else
#define VIMNP_OPENMP 0
#endif

/* Threads that wait awake, or take work from each other, need atomic operations. */
#if defined(__GNUC__) || defined(__clang__) /* clang-cl has the second only */
#define VIMNP_ATOMIC 1
#else
#define VIMNP_ATOMIC 0
#endif

/* Whether the threads are our own. */
#if VIMNP_ATOMIC && !VIMNP_OPENMP && (defined(_WIN32) || defined(__unix__) || defined(__APPLE__))
#define VIMNP_POOL 1
#else
#define VIMNP_POOL 0
#endif

/* One of the threads that go through a task together: of `team` at most, as some may come too late. */
struct member {
    int index, team;
};

/* A member's way through a task. */
typedef void (*member_function)(const void *task, struct member member);

/* Runs the part of a task from item `begin` to `end`. */
typedef void (*part_function)(const void *task, ptrdiff_t begin, ptrdiff_t end);

#if VIMNP_ATOMIC
/* Waits until `count` is `enough` or the time is over, and says whether it is: awake, since to be woken
 * would cost as much as the last part, but yielding the core to a thread that is queued there. */
static int wait_awake(const ptrdiff_t *count, ptrdiff_t enough, double seconds)
{
    const double give_up = seconds_now() + seconds;
    while (__atomic_load_n(count, __ATOMIC_ACQUIRE) < enough) {
        if (seconds_now() >= give_up)
            return 0;
        yield_core();
    }
    return 1;
}
#endif

#if VIMNP_POOL
#include "pool.h"
#else
/* Runs a task on a team: the calling thread is member 0. */
static void run_region(member_function call, const void *task, int team)
{
#if VIMNP_OPENMP
    if (team > 1) {
#pragma omp parallel num_threads(team)
        call(task, (struct member){omp_get_thread_num(), omp_get_num_threads()});
        return;
    }
#endif
    (void)team;
    call(task, (struct member){0, 1});
}
#endif

/* A task whose items up to `next` are dealt out. */
struct deal {
    part_function call;
    const void *task;
    ptrdiff_t next, length, grain;
    int team;
    ptrdiff_t finished; /* members that found nothing left */
};

/* Half of an equal share of what is left from an item on, in whole grains: where that ends. */
static ptrdiff_t end_of_part(const struct deal *d, ptrdiff_t begin)
{
    const ptrdiff_t left = d->length - begin;
    ptrdiff_t size = left / (d->team > 1 ? 2 * d->team : 1);
    size = size < d->grain ? d->grain : size / d->grain * d->grain;
    return begin + (size < left ? size : left);
}

/* Deals out the next part: its beginning, and its end, which is the same if nothing is left. */
static ptrdiff_t next_part(struct deal *d, ptrdiff_t *end)
{
    ptrdiff_t begin;
#if VIMNP_ATOMIC
    begin = __atomic_load_n(&d->next, __ATOMIC_RELAXED);
    do
        *end = end_of_part(d, begin);
    while (!__atomic_compare_exchange_n(
        &d->next, &begin, *end, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
#else
#if VIMNP_OPENMP
#pragma omp critical(vimnp_deal)
#endif
    {
        begin = d->next;
        *end = d->next = end_of_part(d, begin);
    }
#endif
    return begin;
}

/* A member's parts, as long as there are any. */
static void run_dealt(const void *task, struct member member)
{
    struct deal *deal = (struct deal *)task;
    ptrdiff_t begin, end;
    while ((begin = next_part(deal, &end)) < end)
        deal->call(deal->task, begin, end);
#if VIMNP_OPENMP && VIMNP_ATOMIC /* else it sleeps at the region's end */
    __atomic_add_fetch(&deal->finished, 1, __ATOMIC_RELEASE);
    if (member.index == 0)
        wait_awake(&deal->finished, member.team, 50e-6);
#else
    (void)member;
#endif
}

/* All `length` items of a task; a part has a multiple of `grain` items. */
static void run_parts(
    part_function call, const void *task, ptrdiff_t length, ptrdiff_t grain, int num_threads)
{
    const ptrdiff_t grains = (length + grain - 1) / grain;
    struct deal deal = {
        call, task, 0, length, grain, num_threads < grains ? num_threads : (int)grains, 0};
    run_region(run_dealt, &deal, deal.team);
}

/* Those who are in a region, and how long they wait for each other. */
struct roll_call {
    ptrdiff_t came;
    double seconds;
};

static void answer(const void *task, struct member member)
{
    struct roll_call *call = (struct roll_call *)task;
#if VIMNP_ATOMIC
    __atomic_add_fetch(&call->came, 1, __ATOMIC_RELEASE);
    wait_awake(&call->came, member.team, call->seconds);
#else
    call->came = member.team;
#endif
}

/* The threads that are in a region for so many at once, if all of them have so long to come. */
static int count_threads(int num_threads, double seconds)
{
    struct roll_call call = {0, seconds};
    run_region(answer, &call, num_threads);
    return (int)call.came;
}

#endif
