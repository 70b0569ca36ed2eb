#define _GNU_SOURCE
#include "task.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "heap_4.h"
#include "ht_port_posix.h"

enum { STACK_FILL = 0xa5 };

struct task {
    struct task *next;
    char name[16];
    unsigned priority, number;
    task_body body;
    void *argument;
    uint8_t *stack;
    size_t stack_bytes;
    pthread_t thread;
    atomic_bool blocked;
    atomic_uintptr_t stack_current;
    atomic_bool idle;
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static task *tasks;
static unsigned tasks_made;
static _Thread_local task *self;

static void *thread_entry(void *argument)
{
    HT_POSIX_ATTACH();
    self = argument;
    (void)pthread_setname_np(pthread_self(), self->name);
    atomic_store(&self->stack_current, (uintptr_t)__builtin_frame_address(0));
    self->body(self->argument);
    return NULL;
}

static bool start_thread(task *made)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    bool started = pthread_attr_setstack(&attributes, made->stack, made->stack_bytes) == 0 &&
                   pthread_create(&made->thread, &attributes, thread_entry, made) == 0;
    (void)pthread_attr_destroy(&attributes);
    return started;
}

task *task_create(const char *name, unsigned priority, size_t stack_bytes, task_body body, void *argument)
{
    long least = sysconf(_SC_THREAD_STACK_MIN);
    task *made = pvPortCalloc(1, sizeof *made);
    if (made == NULL) {
        return NULL;
    }
    made->stack_bytes = least > 0 && stack_bytes < (size_t)least ? (size_t)least : stack_bytes;
    made->stack = pvPortMalloc(made->stack_bytes);
    if (made->stack == NULL) {
        vPortFree(made);
        return NULL;
    }
    memset(made->stack, STACK_FILL, made->stack_bytes);
    (void)snprintf(made->name, sizeof made->name, "%s", name);
    made->priority = priority;
    atomic_store(&made->stack_current, (uintptr_t)made->stack + made->stack_bytes); /* until it first runs */
    made->body = body;
    made->argument = argument;

    (void)pthread_mutex_lock(&list_lock);
    made->number = ++tasks_made;
    bool started = start_thread(made);
    if (started) {
        task **end = &tasks;
        while (*end != NULL) {
            end = &(*end)->next;
        }
        *end = made;
    }
    (void)pthread_mutex_unlock(&list_lock);
    if (!started) {
        vPortFree(made->stack);
        vPortFree(made);
        return NULL;
    }
    return made;
}

void task_join(task *joined)
{
    if (joined == NULL) {
        return;
    }
    (void)pthread_join(joined->thread, NULL);
    (void)pthread_mutex_lock(&list_lock);
    task **link = &tasks;
    while (*link != joined) {
        link = &(*link)->next;
    }
    *link = joined->next;
    (void)pthread_mutex_unlock(&list_lock);
    vPortFree(joined->stack);
    vPortFree(joined);
}

void task_is_idle(void) { atomic_store(&self->idle, true); }

void task_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(cond, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

bool task_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, const struct timespec *deadline)
{
    if (self != NULL) {
        atomic_store(&self->stack_current, (uintptr_t)__builtin_frame_address(0));
        atomic_store(&self->blocked, true);
    }
    bool in_time = deadline == NULL ? pthread_cond_wait(cond, mutex) == 0
                                    : pthread_cond_timedwait(cond, mutex, deadline) == 0;
    if (self != NULL) {
        atomic_store(&self->blocked, false);
    }
    return in_time;
}

/* How much of the stack was never touched, as FreeRTOS finds it: by the fill that is still there. */
static size_t untouched_words(const task *t)
{
    const volatile uint8_t *stack = t->stack;
    size_t bytes = 0;
    while (bytes < t->stack_bytes && stack[bytes] == STACK_FILL) {
        bytes++;
    }
    return bytes / 8;
}

size_t task_list(task_row *rows, size_t max)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&list_lock);
    for (const task *t = tasks; t != NULL && count < max; t = t->next) {
        task_row *row = &rows[count++];
        *row = (task_row){
            .state = t == self ? 'X' : atomic_load(&t->idle) || !atomic_load(&t->blocked) ? 'R' : 'B',
            .priority = t->priority,
            .number = t->number,
            .stack_free_min_words = untouched_words(t),
            .stack_current = t == self ? (uintptr_t)__builtin_frame_address(0) : atomic_load(&t->stack_current),
            .stack_bottom = (uintptr_t)t->stack,
        };
        memcpy(row->name, t->name, sizeof row->name);
    }
    (void)pthread_mutex_unlock(&list_lock);
    return count;
}

size_t task_count(void)
{
    size_t count = 0;
    (void)pthread_mutex_lock(&list_lock);
    for (const task *t = tasks; t != NULL; t = t->next) {
        count++;
    }
    (void)pthread_mutex_unlock(&list_lock);
    return count;
}

void queue_init(queue *q)
{
    (void)pthread_mutex_init(&q->mutex, NULL);
    task_cond_init(&q->changed);
    q->first = q->used = 0;
}

void queue_put(queue *q, uintptr_t word)
{
    (void)pthread_mutex_lock(&q->mutex);
    while (q->used == QUEUE_SLOTS) {
        (void)task_wait(&q->changed, &q->mutex, NULL);
    }
    q->slots[(q->first + q->used++) % QUEUE_SLOTS] = word;
    (void)pthread_cond_broadcast(&q->changed);
    (void)pthread_mutex_unlock(&q->mutex);
}

bool queue_get_before(queue *q, uintptr_t *word, const struct timespec *deadline)
{
    bool in_time = true;
    (void)pthread_mutex_lock(&q->mutex);
    while (q->used == 0 && in_time) {
        in_time = task_wait(&q->changed, &q->mutex, deadline);
    }
    bool got = q->used > 0;
    if (got) {
        *word = q->slots[q->first];
        q->first = (q->first + 1) % QUEUE_SLOTS;
        q->used--;
        (void)pthread_cond_broadcast(&q->changed);
    }
    (void)pthread_mutex_unlock(&q->mutex);
    return got;
}

uintptr_t queue_get(queue *q)
{
    uintptr_t word = 0;
    (void)queue_get_before(q, &word, NULL);
    return word;
}
