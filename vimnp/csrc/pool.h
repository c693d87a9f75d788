/* Threads of our own, where the compiler has no OpenMP.
 *
 * The workers sleep between regions. A region invites as many of them as it can use; whoever is idle
 * accepts and goes through it as one more member. The calling thread is a member as well: it begins
 * at once, does whatever nobody else does, and takes back the invitations that nobody has accepted by
 * then. So it waits for those alone that are inside, and never for one that is late.
 *
 * Several threads may have a region at once. They share the workers, who are as many as the largest
 * region has ever asked for: a caller that finds none idle does its work alone, and nobody waits for
 * another's region to end. No thread holds the lock while it computes, so that a pass within a signal
 * handler or a callback finds it free. Where a worker cannot be started, a region has fewer members.
 * The child of a fork has none of the workers, and starts its own.
 *
 * Which of the threads does a part changes no bit of it (kernels.h): a worker takes on the caller's
 * rounding and treatment of denormals.
 */
#ifndef VIMNP_POOL_H
#define VIMNP_POOL_H

#include "cpu.h"
#include "system.h"

/* A task that some members go through, on the stack of the thread that has called for it. */
struct region {
    member_function call;
    const void *task;
    int team;            /* members that are invited, the calling thread among them */
    int came;            /* who have accepted; the next one has this index */
    ptrdiff_t left;      /* who have gone through */
    unsigned long long float_mode;
    struct region *next; /* among those that still invite */
};

/* The workers, and what they are wanted for. */
struct pool {
    system_lock lock;
    system_signal invited, gone; /* what workers sleep for, and what callers sleep for */
    struct region *inviting;
    int workers;
};

#define EMPTY_POOL {FREE_LOCK, NO_SLEEPERS, NO_SLEEPERS, NULL, 0}

static struct pool pool = EMPTY_POOL;

/* In the child of a fork, where only the thread is left that forked: it was in no region, but others may
 * have been, and may have held the lock. */
static void empty_pool(void)
{
    const struct pool empty = EMPTY_POOL;
    pool = empty;
}

/* Takes a region off those that invite, if it still is among them. The caller holds the lock. */
static void stop_inviting(struct region *region)
{
    struct region **place = &pool.inviting;
    while (*place && *place != region)
        place = &(*place)->next;
    if (*place)
        *place = region->next;
}

/* A worker's life. */
static void work_in_pool(void)
{
    lock(&pool.lock);
    for (;;) {
        struct region *region = pool.inviting;
        if (!region) {
            sleep_until(&pool.invited, &pool.lock);
            continue;
        }
        const struct member member = {region->came++, region->team};
        if (region->came == region->team)
            stop_inviting(region);
        unlock(&pool.lock);
        set_float_mode(region->float_mode);
        region->call(region->task, member);
        lock(&pool.lock);
        stop_inviting(region); /* nothing is left in it to be done */
        __atomic_add_fetch(&region->left, 1, __ATOMIC_RELEASE); /* the region may be gone from here on */
        wake_all(&pool.gone);
    }
}

/* Sees to it that there are as many workers, as far as the system has them. The caller holds the lock. */
static void start_workers(int number)
{
    static int hears_of_forks = 0; /* a child does so from its birth */
    if (pool.workers < number && !hears_of_forks)
        hears_of_forks = call_after_fork(empty_pool);
    while (hears_of_forks && pool.workers < number && start_thread(work_in_pool))
        pool.workers++;
}

/* Runs a task on a team of the calling thread and of those workers that come in time. */
static void run_region(member_function call, const void *task, int team)
{
    struct region region = {call, task, team, 1, 0, float_mode(), NULL};
    if (team > 1) {
        lock(&pool.lock);
        start_workers(team - 1);
        region.next = pool.inviting;
        pool.inviting = &region;
        const int wanted = team - 1, everybody = wanted >= pool.workers;
        unlock(&pool.lock);
        if (everybody)
            wake_all(&pool.invited);
        else
            for (int i = 0; i < wanted; i++)
                wake_one(&pool.invited);
    }
    call(task, (struct member){0, team});
    if (team > 1) {
        lock(&pool.lock);
        stop_inviting(&region);
        unlock(&pool.lock);
        const ptrdiff_t others = region.came - 1; /* nobody else comes */
        if (wait_awake(&region.left, others, 50e-6))
            return;
        lock(&pool.lock);
        while (region.left < others)
            sleep_until(&pool.gone, &pool.lock);
        unlock(&pool.lock);
    }
}

#endif
