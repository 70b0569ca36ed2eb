/* Tasks as pthreads whose control block and stack lie in the player's heap, and the queues between them. */
#ifndef TASK_H
#define TASK_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef void (*task_body)(void *argument);

typedef struct task task;

/* NULL when the heap has no room for the stack. The name is cut to 15 characters. The stack is at least what the host
 * needs for a thread (16 KB on x86-64), whatever is asked. */
task *task_create(const char *name, unsigned priority, size_t stack_bytes, task_body body, void *argument);

/* Wait until the task's body has returned, then give its memory back. NULL is allowed. */
void task_join(task *joined);

/* This task runs whenever nothing else does: it is listed as ready, never as blocked. */
void task_is_idle(void);

/* pthread_cond_wait and pthread_cond_timedwait (monotonic clock, NULL: for ever) that the task list can tell from
 * running. False when the time came. Make the condition with task_cond_init. */
void task_cond_init(pthread_cond_t *cond);
bool task_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline);

typedef struct {
    char name[16];
    char state; /* X running, R ready, B blocked */
    unsigned priority, number;
    size_t stack_free_min_words; /* of 8 bytes, as on the C906 */
    uintptr_t stack_current, stack_bottom;
} task_row;

/* Up to `max` rows, newest task last; how many. */
size_t task_list(task_row *rows, size_t max);
size_t task_count(void);

enum { QUEUE_SLOTS = 4 };

/* A bounded queue of words. Short on purpose: tasks hand over often, as on a small machine. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uintptr_t slots[QUEUE_SLOTS];
    size_t first, used;
} queue;

void queue_init(queue *q);
void queue_put(queue *q, uintptr_t word);
uintptr_t queue_get(queue *q);
bool queue_get_before(queue *q, uintptr_t *word, const struct timespec *deadline);

#endif
