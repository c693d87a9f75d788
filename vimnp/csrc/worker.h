/* A thread on its way through the stages of a pass: what it has in hand, and what time it takes. */
#ifndef VIMNP_WORKER_H
#define VIMNP_WORKER_H

#include "program.h"
#include "stages.h"

/* Under which waiting is booked. */
#define LABEL_WAIT 0

/* A thread in a pass. */
struct worker {
    const struct pass *pass;
    struct member member;
    float *buffers[MAX_BUFFERS]; /* the first of them are the present input's */
    float *scratch;              /* its own */
    struct kept_rows kept;       /* what is in it for products of the present stage */
    ptrdiff_t stage;             /* number of the present one */
    struct extent in_hand;        /* its part that this thread works on */
    int layer;                   /* of the last operation */
    struct span *spans, *last_span; /* where the next one goes; NULL unless time is kept */
    double clock;                   /* when the last one ended */
};

static struct worker begin_work(const struct pass *pass, struct member member)
{
    const struct program *program = pass->program;
    struct worker worker = {
        .pass = pass, .member = member, .layer = -1, .clock = pass->begin,
        .scratch = pass->scratch + member.index * program->scratch};
    worker.buffers[BUFFER_STATE] = pass->state;
    worker.buffers[BUFFER_PRIVATE] = worker.scratch + program->private;
    for (int i = FIRST_BUFFER; i < program->buffers; i++)
        worker.buffers[i] = pass->workspace + program->offsets[i];
    if (pass->spans) {
        worker.spans = pass->spans + member.index * pass->capacity;
        worker.last_span = worker.spans + pass->capacity;
    }
    return worker;
}

/* Turns to the next input. */
static void take_input(struct worker *worker, int index)
{
    /* No operation writes its input: the program was built so. */
    worker->buffers[BUFFER_INPUT] = (float *)worker->pass->input[index];
    worker->buffers[BUFFER_OUT] = worker->pass->out + index * worker->pass->out_stride;
}

/* The first row of an array; NULL if there is none. */
static inline float *first_row(const struct worker *worker, struct array array)
{
    return array.buffer == NO_BUFFER ? NULL : worker->buffers[array.buffer] + array.offset;
}

/* Books the time since the last call on an operation. What finds no room is lost. */
static inline void book(struct worker *worker, int label)
{
    if (worker->spans) {
        const double now = seconds_now();
        if (worker->spans < worker->last_span)
            *worker->spans++ = (struct span){worker->clock, now, label, worker->layer};
        worker->clock = now;
    }
}

/* Finishes the current part and takes the next one; 0 when the stage is over. */
static inline int take_next(struct worker *worker, struct extent *part)
{
    const struct progress_list *stages = &worker->pass->stages;
    struct progress *stage = progress_at(stages, worker->stage);
    finish_part(stage, worker->in_hand);
    if (take_part(stages, stage, worker->member, part)) {
        worker->in_hand = *part;
        return 1;
    }
    wait_for_others(stage);
    book(worker, LABEL_WAIT);
    worker->in_hand = (struct extent){0, 0};
    worker->stage++;
    return 0;
}

#endif
