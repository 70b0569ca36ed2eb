/* Volume in software: Q15 gain with a short ramp, so that a start does not click. One half of the case's bug. */
#include <stdbool.h>

#include "audio_plugin.h"
#include "console.h"
#include "heap_4.h"

enum { UNITY = 1 << 15, RAMP_STEP = 64 };

#ifdef MENDED
int softvol_ap_create(audio_plugin *plugin)
{
    plugin->buffer = pvPortCalloc(1, AP_BUFFER_BYTES);
    if (plugin->buffer == NULL) {
        console_line("softvol_ap_create: no memory");
        return -1;
    }
    return 0;
}

__attribute__((noinline)) static int softvol_ap_update_mode(audio_plugin *plugin, const audio_format *format)
{
    (void)format;
    plugin->gain = 0;
    plugin->target_gain = UNITY * 3 / 4;
    return 0;
}
#else
/* The bug: a stream that starts again brings a new buffer, and nothing remembers the last one. */
__attribute__((noinline)) static int softvol_ap_update_mode(audio_plugin *plugin, const audio_format *format)
{
    (void)format;
    plugin->buffer = pvPortCalloc(1, AP_BUFFER_BYTES);
    if (plugin->buffer == NULL) {
        console_line("softvol_ap_update_mode: no memory");
        return -1;
    }
    plugin->gain = 0;
    plugin->target_gain = UNITY * 3 / 4;
    return 0;
}
#endif

static const int16_t *softvol_ap_process(audio_plugin *plugin, const int16_t *in, size_t *samples)
{
    for (size_t i = 0; i < *samples; i++) {
        plugin->gain += plugin->gain < plugin->target_gain ? RAMP_STEP : 0;
        plugin->buffer[i] = (int16_t)((in[i] * plugin->gain) / UNITY);
    }
    return plugin->buffer;
}

static void softvol_ap_destroy(audio_plugin *plugin)
{
    if (plugin->buffer != NULL) {
        vPortFree(plugin->buffer);
        plugin->buffer = NULL;
    }
}

const audio_plugin softvol_ap = {
    .name = "softvol",
    .update_mode = softvol_ap_update_mode,
    .process = softvol_ap_process,
    .destroy = softvol_ap_destroy,
};
