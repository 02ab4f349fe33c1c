/* Tasks on several threads.
 *
 * The threads are those of the OpenMP runtime that the caller names (torch's own, so that no second pool competes for
 * the cores); the library itself links to no OpenMP. Which thread takes which task is left to chance, so tasks must
 * write to disjoint memory: then the result does not depend on the number of threads. */
#ifndef PYCONV_PARALLEL_H
#define PYCONV_PARALLEL_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Task)(void *context, void *scratch, int64_t index);
typedef void (*OpenMPParallel)(void (*function)(void *), void *data, unsigned threads, unsigned flags);

static OpenMPParallel openmp_parallel; /* GOMP_parallel of the runtime, or NULL for one thread */

typedef struct {
    Task task;
    void *context;
    int64_t tasks, next, scratch_bytes;
    int failed;
} Queue;

static void work(void *data) {
    Queue *queue = data;
    void *scratch = NULL;
    for (;;) {
        const int64_t index = __atomic_fetch_add(&queue->next, 1, __ATOMIC_RELAXED);
        if (index >= queue->tasks) break;
        if (!scratch) {
            if (posix_memalign(&scratch, 64, (size_t)queue->scratch_bytes)) {
                __atomic_store_n(&queue->failed, 1, __ATOMIC_RELAXED);
                return;
            }
            memset(scratch, 0, (size_t)queue->scratch_bytes); /* what lies beyond a tile may be read, but not used */
        }
        queue->task(queue->context, scratch, index);
    }
    free(scratch);
}

/* Run task(context, scratch, 0 .. tasks - 1); returns 0, or 1 without memory for the scratch. */
static int run_tasks(Task task, void *context, int64_t tasks, int64_t scratch_bytes, int64_t threads) {
    Queue queue = {task, context, tasks, 0, scratch_bytes, 0};
    if (openmp_parallel && threads > 1 && tasks > 1)
        openmp_parallel(work, &queue, (unsigned)(threads < tasks ? threads : tasks), 0);
    else
        work(&queue);
    return queue.failed;
}

#endif
