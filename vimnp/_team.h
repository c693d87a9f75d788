/* A task, split among the threads of an OpenMP team.
 *
 * The threads sleep between regions (vimnp.threads says why), and waking one takes tens of
 * microseconds. So there are several parts for each, dealt out one by one: the calling thread begins at
 * once, and whoever comes late takes fewer.
 */
#ifndef VIMNP_TEAM_H
#define VIMNP_TEAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef _OPENMP
#include <omp.h>
#define VIMNP_OPENMP 1
#else
#define VIMNP_OPENMP 0
#endif

#define PARTS_PER_THREAD 4
#define NO_LIMIT PTRDIFF_MAX

/* Runs the part of a task from item `begin` to `end`. */
typedef void (*part_function)(const void *task, ptrdiff_t begin, ptrdiff_t end);

#if VIMNP_OPENMP
/* At the end the calling thread waits awake, but not for long: to be woken again would cost as much as
 * the last part, and with more threads than cores the others may need this one's. */
static void wait_awake(int *finished, int team)
{
#ifdef __GNUC__
    __atomic_add_fetch(finished, 1, __ATOMIC_RELEASE);
    if (omp_get_thread_num() != 0)
        return;
    const double give_up = omp_get_wtime() + 50e-6;
    while (__atomic_load_n(finished, __ATOMIC_ACQUIRE) < team && omp_get_wtime() < give_up)
        ;
#else
    (void)finished, (void)team; /* no atomics that are the same everywhere: asleep */
#endif
}
#endif

/* All `length` items of a task; a part has a multiple of `step` items and no more than `most`, which is
 * at least `step`. */
static void run_parts(
    part_function run, const void *task, ptrdiff_t length, ptrdiff_t step, ptrdiff_t most,
    int num_threads)
{
    const ptrdiff_t steps = (length + step - 1) / step;
    const int team = num_threads < steps ? num_threads : (int)steps;
    const ptrdiff_t wanted = team > 1 ? team * PARTS_PER_THREAD : 1;
    ptrdiff_t size = (steps + wanted - 1) / wanted * step;
    if (size > most)
        size = most / step * step;
    const ptrdiff_t parts = (length + size - 1) / size;
    ptrdiff_t part;
#if VIMNP_OPENMP
    if (team > 1) {
        int finished = 0;
#pragma omp parallel num_threads(team)
        {
#pragma omp for schedule(dynamic) nowait
            for (part = 0; part < parts; part++)
                run(task, part * size, (part + 1) * size < length ? (part + 1) * size : length);
            wait_awake(&finished, omp_get_num_threads());
        }
        return;
    }
#endif
    for (part = 0; part < parts; part++)
        run(task, part * size, (part + 1) * size < length ? (part + 1) * size : length);
}

#endif
