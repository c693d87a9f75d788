/* A task, split among the threads of an OpenMP team: in parts that are dealt out, or step by step
 * together.
 *
 * The threads sleep between regions (vimnp.threads says why), and to wake one takes 20 to 250
 * microseconds. So a single kernel's parts are dealt out while they last, large ones first: the calling
 * thread begins at once, and whoever comes late takes fewer. A whole pass wakes its threads once; in each
 * of its steps a thread has a share, which is in its cache, and helps the others when it is through.
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

/* The part with this index of `number` even ones, in whole steps. */
static struct range even_part(int index, int number, ptrdiff_t length, ptrdiff_t step)
{
    const ptrdiff_t steps = (length + step - 1) / step;
    const ptrdiff_t end = steps * (index + 1) / number * step;
    return (struct range){steps * index / number * step, end < length ? end : length};
}

/* What is left of a thread's share of a step. Each has a cache line for itself. */
struct share {
    ptrdiff_t next, end;
    char padding[64 - 2 * sizeof(ptrdiff_t)];
};

/* Items, in whole steps, with a share for each thread. */
struct split {
    ptrdiff_t length, step;
    int number; /* of shares */
    struct share *shares;
};

/* Deals everything out (again); each member some of the shares. */
static void deal_shares(const struct split *s, const struct member *m)
{
    for (int i = m->index; i < s->number; i += m->team) {
        const struct range part = even_part(i, s->number, s->length, s->step);
        s->shares[i].next = part.begin;
        s->shares[i].end = part.end;
    }
}

/* Takes half of what is left of a share, or all if `whole`. 0 if nothing is left. */
static int take_from(struct share *share, ptrdiff_t step, int whole, struct range *part)
{
#ifdef __unix__
    ptrdiff_t next = __atomic_load_n(&share->next, __ATOMIC_RELAXED), size;
    do {
        const ptrdiff_t left = share->end - next, half = left / 2 / step * step;
        size = whole || left < step ? left : half > step ? half : step;
        if (size <= 0)
            return 0;
    } while (!__atomic_compare_exchange_n(
        &share->next, &next, next + size, 1, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
#else
    (void)step, (void)whole;
    const ptrdiff_t next = share->next, size = share->end - next;
    if (size <= 0)
        return 0;
    share->next = share->end;
#endif
    *part = (struct range){next, next + size};
    return 1;
}

/* A part of a share that the member has dealt, else of another's. 0 if all is taken. */
static int take_part(const struct split *s, const struct member *m, struct range *part)
{
    for (int i = m->index; i < s->number; i += m->team)
        if (take_from(&s->shares[i], s->step, m->team == 1, part))
            return 1;
#ifdef __unix__ /* elsewhere without atomic operations */
    for (int i = 0; i < s->number; i++)
        if (take_from(&s->shares[i], s->step, 0, part))
            return 1;
#endif
    return 0;
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
