/* What runs from task to task: packets from Demux to AudioDecode, sound from AudioDecode to AudioRender. The receiver
 * frees what it gets. PIPELINE_END tells a task to end and to tell the next one. */
#ifndef PIPELINE_H
#define PIPELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "task.h"

#define PIPELINE_END ((uintptr_t)0)

enum { ADPCM_BLOCK_BYTES = 256, ADPCM_BLOCK_SAMPLES = (ADPCM_BLOCK_BYTES - 4) * 2 + 1 };

typedef struct {
    bool first, last; /* of the round */
    size_t samples;   /* to keep of this block */
    uint8_t block[ADPCM_BLOCK_BYTES];
} packet;

typedef struct {
    bool first, last;
    size_t samples;
    int16_t pcm[ADPCM_BLOCK_SAMPLES];
} sound;

typedef struct {
    uint32_t rate;
    queue to_demux, to_decoder, to_render;
} pipeline;

/* Demux opens and reads; see demux.c. */
bool demux_open(const char *path, uint32_t *rate);
void demux_close(void);
void demux_set_round(double seconds); /* 0: the file's length */

void Demux_task(void *argument);
void AudioDecode_task(void *argument);
void AudioRender_task(void *argument);

/* One buffer that a healthy task always holds: the old one goes, the new one comes. Freed by owned_free. */
void owned_renew(void **owned, size_t bytes);
void owned_free(void **owned);

#endif
