#include "system.h"

#include "console.h"
#include "heap_4.h"
#include "pipeline.h"

typedef struct {
    const char *name;
    unsigned priority;
    size_t stack_bytes;
    size_t buffer_bytes; /* the one that it holds and renews; 0: none */
} background;

/* Names, priorities and stacks as in the case. RTOS stacks of less than the host's least are rounded up. */
static const background BACKGROUND[] = {
    {"IDLE", 0, 0x200, 0},
    {"Tmr Svc", 6, 0xe00, 96},
    {"amp-send-task", 6, 0x2000, 256},
    {"amp-recv-task", 6, 0x2000, 320},
    {"amp-ser0", 6, 0x7d40, 160},
    {"amp-ser1", 6, 0x7d40, 176},
    {"amp-ser2", 6, 0x7d40, 192},
    {"amp-ser3", 6, 0x7d40, 208},
    {"amp-ser4", 6, 0x7d40, 224},
    {"amp-admin", 6, 0x7d40, 240},
    {"tcpip", 3, 0xf00, 1460},
    {"hub-main-thread", 6, 0xfa80, 512},
    {"usb-hardware-sc", 6, 0xfa80, 1024},
    {"adbd-input", 5, 0x2000, 768},
    {"adbd-output", 5, 0x2000, 704},
    {"adb-shell", 4, 0x1000, 128},
    {"adbd-shell-ser-", 4, 0x2000, 144},
    {"adb-event", 5, 0x2000, 272},
};
enum { BACKGROUNDS = sizeof BACKGROUND / sizeof BACKGROUND[0] };

/* Free once playback has begun for the first time, as in the case, and what the CLI task and playback itself take
 * (measured on x86-64; their stacks are nearly all of it). */
enum { CASE_FREE_BYTES = 547632, PLAYBACK_BYTES = 272432 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ticked;
static unsigned ticks;
static unsigned settled; /* background tasks that hold their first buffer */

static void idle_task(void *argument)
{
    (void)argument;
    task_is_idle();
    (void)pthread_mutex_lock(&lock);
    for (;;) {
        (void)task_wait(&ticked, &lock, NULL);
    }
}

static void background_task(void *argument)
{
    const background *me = argument;
    void *held = NULL;
    unsigned seen = 0;
    (void)pthread_mutex_lock(&lock);
    for (;;) {
        (void)pthread_mutex_unlock(&lock);
        owned_renew(&held, me->buffer_bytes);
        (void)pthread_mutex_lock(&lock);
        if (seen == 0 && settled < BACKGROUNDS) {
            settled++;
            (void)pthread_cond_broadcast(&ticked);
        }
        while (ticks == seen) {
            (void)task_wait(&ticked, &lock, NULL);
        }
        seen = ticks;
    }
}

/* Frame buffers, radio firmware, pools: what a product takes at boot and never gives back, until the case's figure is
 * what remains for playback. */
static bool take_baseline(void)
{
    static const size_t PIECES[] = {153600, 65536, 65536, 49152, 32768, 16384, 8192, 4096, 1024, 256};
    size_t keep = CASE_FREE_BYTES + PLAYBACK_BYTES;
    for (size_t i = 0; i < sizeof PIECES / sizeof PIECES[0];) {
        if (xPortGetFreeHeapSize() < keep + PIECES[i] + 64) {
            i++;
        } else if (pvPortMalloc(PIECES[i]) == NULL) {
            return false;
        }
    }
    return true;
}

bool system_start(void)
{
    task_cond_init(&ticked);
    for (size_t i = 0; i < BACKGROUNDS; i++) {
        task_body body = BACKGROUND[i].buffer_bytes == 0 ? idle_task : background_task;
        if (task_create(BACKGROUND[i].name, BACKGROUND[i].priority, BACKGROUND[i].stack_bytes, body,
                        (void *)&BACKGROUND[i]) == NULL) {
            console_line("boot: no memory for task %s", BACKGROUND[i].name);
            return false;
        }
    }
    (void)pthread_mutex_lock(&lock);
    while (settled < BACKGROUNDS - 1) {
        (void)task_wait(&ticked, &lock, NULL);
    }
    (void)pthread_mutex_unlock(&lock);
    return take_baseline();
}

void system_tick(void)
{
    (void)pthread_mutex_lock(&lock);
    ticks++;
    (void)pthread_cond_broadcast(&ticked);
    (void)pthread_mutex_unlock(&lock);
}
