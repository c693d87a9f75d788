/* Time that passes: a clock, and what a thread does that waits awake. */
#ifndef VIMNP_CLOCK_H
#define VIMNP_CLOCK_H

#if defined(_WIN32)
#ifndef WIN32_LEAN_AND_MEAN
#define WIN32_LEAN_AND_MEAN
#endif
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <windows.h>
#else
#include <time.h>
#if defined(__unix__) || defined(__APPLE__)
#include <sched.h>
#endif
#endif

/* Seconds of a clock that nobody sets. */
static double seconds_now(void)
{
#if defined(_WIN32)
    LARGE_INTEGER ticks, in_a_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&in_a_second);
    return (double)ticks.QuadPart / (double)in_a_second.QuadPart;
#else
    struct timespec now;
#if defined(CLOCK_MONOTONIC)
    clock_gettime(CLOCK_MONOTONIC, &now);
#else
    timespec_get(&now, TIME_UTC);
#endif
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
#endif
}

/* Leaves the core to a thread that is queued there. */
static inline void yield_core(void)
{
#if defined(_WIN32)
    SwitchToThread();
#elif defined(__unix__) || defined(__APPLE__)
    sched_yield();
#endif
}

#endif
