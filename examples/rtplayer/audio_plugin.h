/* The stages between the decoder and the sink. Each has a buffer of its own for what it puts out. */
#ifndef AUDIO_PLUGIN_H
#define AUDIO_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

enum {
    AP_BUFFER_BYTES = 0xf00,                                  /* the case's */
    AP_BUFFER_SAMPLES = AP_BUFFER_BYTES / (int)sizeof(int16_t),
    SINK_RATE = 48000,
};

typedef struct {
    uint32_t rate; /* Hz, of what the decoder delivers; mono, 16 bits */
} audio_format;

typedef struct audio_plugin audio_plugin;

struct audio_plugin {
    const char *name;
    /* The stream starts, or its format changed. 0, or -1 with a line on the console. */
    int (*update_mode)(audio_plugin *plugin, const audio_format *format);
    /* `*samples` samples in; out come the plugin's own samples, valid until the next call, their number in `*samples`. */
    const int16_t *(*process)(audio_plugin *plugin, const int16_t *in, size_t *samples);
    void (*destroy)(audio_plugin *plugin);
    int16_t *buffer;
    uint32_t rate;     /* resample: of the input */
    uint32_t position; /* resample: 16.16 fixed point, in input samples from `last` */
    int32_t gain;      /* softvol: Q15, ramps up to `target_gain` at the start of a stream */
    int32_t target_gain;
    int16_t last; /* resample: the last input sample of the chunk before */
};

extern const audio_plugin softvol_ap;
extern const audio_plugin resample_ap;

/* The mended twin calls these once, from AudioTrackCreateWithStream; 0 or -1. */
int softvol_ap_create(audio_plugin *plugin);
int resample_ap_create(audio_plugin *plugin);

#endif
