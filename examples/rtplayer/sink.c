#include "sink.h"

#include <stdio.h>
#include <string.h>

#include "audio_plugin.h"
#include "clock.h"
#include "console.h"
#include "heap_4.h"
#include "rtplayer.h"
#include "task.h"

enum { MIXER_SAMPLES = 4096, PERIOD_SAMPLES = SINK_RATE / 100 };

struct sink {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t first, used; /* samples in `mixer`, those being played included */
    bool closing;
    struct timespec played_until; /* when the sound that was taken from the mixer will have been heard */
    FILE *file;
    task *playback, *mixing;
    int16_t *mixer;
};

static double configured_speed = 1.0;
static const char *configured_path;

void sink_configure(double speed, const char *path)
{
    configured_speed = speed;
    configured_path = path;
}

/* Wait until the sound of these samples would have been heard; a quit ends it early. Called with the mutex held. */
static void pace(sink *s, size_t samples)
{
    if (configured_speed > 0) {
        s->played_until = clock_add(s->played_until, (double)samples / SINK_RATE / configured_speed);
        while (!rtplayer_quitting() && !s->closing && task_wait(&s->changed, &s->mutex, &s->played_until)) {
        }
    }
}

static void playback_task(void *argument)
{
    sink *s = argument;
    (void)pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        if (s->used == 0) {
            (void)task_wait(&s->changed, &s->mutex, NULL);
            continue;
        }
        size_t run = MIXER_SAMPLES - s->first;
        run = run < s->used ? run : s->used;
        run = run < PERIOD_SAMPLES ? run : PERIOD_SAMPLES;
        if (s->file != NULL) {
            (void)fwrite(s->mixer + s->first, sizeof s->mixer[0], run, s->file);
        }
        pace(s, run);
        s->first = (s->first + run) % MIXER_SAMPLES;
        s->used -= run;
        (void)pthread_cond_broadcast(&s->changed);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

/* The mixer's control task: with one track there is nothing to mix, it waits for the end. */
static void mixing_task(void *argument)
{
    sink *s = argument;
    (void)pthread_mutex_lock(&s->mutex);
    while (!s->closing) {
        (void)task_wait(&s->changed, &s->mutex, NULL);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

sink *sink_open(void)
{
    sink *s = pvPortCalloc(1, sizeof *s);
    if (s == NULL) {
        console_line("sink_open: no memory");
        return NULL;
    }
    (void)pthread_mutex_init(&s->mutex, NULL);
    task_cond_init(&s->changed);
    s->played_until = clock_now();
    s->mixer = pvPortMalloc(MIXER_SAMPLES * sizeof s->mixer[0]);
    s->mixing = s->mixer == NULL ? NULL : task_create("AudioMT2", 4, 0x4000, mixing_task, s);
    s->playback = s->mixing == NULL ? NULL : task_create("AudioMT2pb", 4, 0x7d40, playback_task, s);
    if (s->playback == NULL) {
        console_line("sink_open: no memory");
        sink_close(s);
        return NULL;
    }
    if (configured_path != NULL) {
        s->file = fopen(configured_path, "wb");
        if (s->file == NULL) {
            console_line("sink_open: cannot write %s", configured_path);
        }
    }
    return s;
}

void sink_start(sink *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    s->played_until = clock_now();
    (void)pthread_mutex_unlock(&s->mutex);
}

void sink_write(sink *s, const int16_t *samples, size_t count)
{
    (void)pthread_mutex_lock(&s->mutex);
    while (count > 0 && !rtplayer_quitting()) {
        if (s->used == MIXER_SAMPLES) {
            (void)task_wait(&s->changed, &s->mutex, NULL);
            continue;
        }
        size_t at = (s->first + s->used) % MIXER_SAMPLES;
        size_t run = MIXER_SAMPLES - (at > s->used ? at : s->used);
        run = run < count ? run : count;
        memcpy(s->mixer + at, samples, run * sizeof samples[0]);
        s->used += run;
        samples += run;
        count -= run;
        (void)pthread_cond_broadcast(&s->changed);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

void sink_drain(sink *s)
{
    (void)pthread_mutex_lock(&s->mutex);
    while (s->used > 0 && !rtplayer_quitting()) {
        (void)task_wait(&s->changed, &s->mutex, NULL);
    }
    (void)pthread_mutex_unlock(&s->mutex);
}

void sink_close(sink *s)
{
    if (s == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&s->mutex);
    s->closing = true;
    (void)pthread_cond_broadcast(&s->changed);
    (void)pthread_mutex_unlock(&s->mutex);
    task_join(s->playback);
    task_join(s->mixing);
    if (s->file != NULL) {
        (void)fclose(s->file);
    }
    if (s->mixer != NULL) {
        vPortFree(s->mixer);
    }
    vPortFree(s);
}
