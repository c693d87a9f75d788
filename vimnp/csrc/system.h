/* What the pool needs of the system: a lock, sleep and wakening, threads, and word of a fork.
 *
 * POSIX threads give it, and on Windows its own locks and condition variables.
 */
#ifndef VIMNP_SYSTEM_H
#define VIMNP_SYSTEM_H

#include <stddef.h>

#include "clock.h" /* includes windows.h as we want it */

#if !defined(_WIN32)
#include <pthread.h>
#include <signal.h>
#endif

/* Bytes of a worker's stack, whatever the system's own size is: 128 KB with musl. The kernels' arrays
 * take 48 KB; builds that look for errors take several times that. */
#define STACK_OF_WORKER ((size_t)1 << 20)

#if defined(_WIN32)

typedef SRWLOCK system_lock;
typedef CONDITION_VARIABLE system_signal;
#define FREE_LOCK SRWLOCK_INIT
#define NO_SLEEPERS CONDITION_VARIABLE_INIT

static void lock(system_lock *l)
{
    AcquireSRWLockExclusive(l);
}

static void unlock(system_lock *l)
{
    ReleaseSRWLockExclusive(l);
}

/* Sleeps without the lock. May end before a wakening, too. */
static void sleep_until(system_signal *s, system_lock *l)
{
    SleepConditionVariableSRW(s, l, INFINITE, 0);
}

static void wake_one(system_signal *s)
{
    WakeConditionVariable(s);
}

static void wake_all(system_signal *s)
{
    WakeAllConditionVariable(s);
}

static DWORD WINAPI begin_thread(LPVOID call)
{
    ((void (*)(void))call)();
    return 0;
}

/* Starts a thread that nobody waits for. 0 if the system has none to give. */
static int start_thread(void (*call)(void))
{
    const HANDLE thread = CreateThread(
        NULL, STACK_OF_WORKER, begin_thread, (LPVOID)call, STACK_SIZE_PARAM_IS_A_RESERVATION, NULL);
    if (thread == NULL)
        return 0;
    CloseHandle(thread); /* which leaves the thread running */
    return 1;
}

/* Has a function called in the child of every fork: Windows has no forks. */
static int call_after_fork(void (*call)(void))
{
    (void)call;
    return 1;
}

#else

typedef pthread_mutex_t system_lock;
typedef pthread_cond_t system_signal;
#define FREE_LOCK PTHREAD_MUTEX_INITIALIZER
#define NO_SLEEPERS PTHREAD_COND_INITIALIZER

static void lock(system_lock *l)
{
    pthread_mutex_lock(l);
}

static void unlock(system_lock *l)
{
    pthread_mutex_unlock(l);
}

/* Sleeps without the lock. May end before a wakening, too. */
static void sleep_until(system_signal *s, system_lock *l)
{
    pthread_cond_wait(s, l);
}

static void wake_one(system_signal *s)
{
    pthread_cond_signal(s);
}

static void wake_all(system_signal *s)
{
    pthread_cond_broadcast(s);
}

static void *begin_thread(void *call)
{
    ((void (*)(void))call)();
    return NULL;
}

/* Starts a thread that nobody waits for. 0 if the system has none to give.
 *
 * Signals are Python's: the thread blocks them all but those that an error of its own raises. */
static int start_thread(void (*call)(void))
{
    const int errors[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t blocked, before;
    if (pthread_attr_init(&attributes) != 0)
        return 0;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        sigdelset(&blocked, errors[i]);
    int failed = pthread_attr_setstacksize(&attributes, STACK_OF_WORKER) ||
                 pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) ||
                 pthread_sigmask(SIG_SETMASK, &blocked, &before);
    if (!failed) {
        failed = pthread_create(&thread, &attributes, begin_thread, (void *)call);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    pthread_attr_destroy(&attributes);
    return !failed;
}

/* Has a function called in the child of every fork. 0 if there is no memory for that. */
static int call_after_fork(void (*call)(void))
{
    return pthread_atfork(NULL, NULL, call) == 0;
}

#endif

#endif
