/* A thread on its way through the stages of a pass: what it has in hand, and what time it takes. */
#ifndef VIMNP_WORKER_H
#define VIMNP_WORKER_H

#include "parameters.h"
#include "stages.h"

/* A thread in a pass. */
struct worker {
    const struct pass *pass;
    const struct network *n;
    const struct workspace *w;
    struct member member;
    ptrdiff_t stage;        /* number of the present one */
    struct range in_hand;   /* its part that this thread works on */
    struct range needed;    /* tokens that the present layer has to hand on */
    int layer;              /* the present one */
    struct span *spans, *last_span; /* where the next one goes; NULL unless time is kept */
    double clock;           /* when the last one ended */
};

/* Books the time since the last call on a step of the present layer. What finds no room is lost. */
static inline void book(struct worker *worker, enum step step)
{
    if (worker->spans) {
        const double now = seconds_now();
        if (worker->spans < worker->last_span)
            *worker->spans++ = (struct span){worker->clock, now, step, worker->layer};
        worker->clock = now;
    }
}

/* The next part of the stage; what was in hand is done. 0 if all are taken and done: the stage is
 * over. */
static inline int take_next(struct worker *worker, struct range *part)
{
    const struct stages *stages = &worker->pass->stages;
    struct stage *stage = stage_at(stages, worker->stage);
    finish_part(stage, worker->in_hand);
    if (take_part(stages, stage, worker->member, part)) {
        worker->in_hand = *part;
        return 1;
    }
    wait_for_others(stage);
    book(worker, STEP_WAIT);
    worker->in_hand = (struct range){0, 0};
    worker->stage++;
    return 0;
}

#endif
