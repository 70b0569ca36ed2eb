#define _GNU_SOURCE
#include "trace.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "console.h"
#include "ht_agent.h"
#include "ht_stream.h"

static FILE *file;
static pthread_t writer;
static atomic_bool ending;

uint32_t ht_port_ticks_per_s(void) { return 1000; }

uint32_t ht_port_ticks(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u);
}

static bool write_frames(bool flush)
{
    uint8_t frame[HT_WIRE_FRAME_BYTES];
    bool any = false;
    for (size_t bytes; (bytes = ht_stream_take(frame, flush)) != 0; any = true) {
        (void)fwrite(frame, 1, bytes, file);
    }
    return any;
}

/* A thread of the host's, not a task of the player's: it uses none of the traced heap. */
static void *write_stream(void *argument)
{
    (void)argument;
    while (!atomic_load(&ending)) {
        if (!write_frames(false)) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 500000}, NULL);
        }
    }
    (void)write_frames(true);
    return NULL;
}

static void write_console(void *unused, const uint8_t *bytes, size_t count)
{
    (void)unused;
    console_bytes(bytes, count);
}

/* As a task of low priority would on a board: what is full goes at once, what is not after a quiet moment. */
static void *pump_console(void *argument)
{
    for (;;) {
        if (!ht_stream_pump(false)) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
            (void)ht_stream_pump(true);
        }
    }
    return argument;
}

void trace_to_console(void)
{
    static bool begun;
    pthread_t pump;
    if (!begun && pthread_create(&pump, NULL, pump_console, NULL) == 0) {
        begun = true;
        (void)pthread_detach(pump);
        ht_stream_output(write_console, NULL);
    }
}

bool trace_open(const char *path)
{
    file = fopen(path, "wb");
    if (file == NULL) {
        return false;
    }
    (void)ht_start(NULL, 0);
    ht_stream_begin();
    if (pthread_create(&writer, NULL, write_stream, NULL) != 0) {
        (void)fclose(file);
        file = NULL;
        return false;
    }
    (void)atexit(trace_close);
    return true;
}

void trace_close(void)
{
    if (file != NULL) {
        atomic_store(&ending, true);
        (void)pthread_join(writer, NULL);
        (void)fclose(file);
        file = NULL;
    }
}
