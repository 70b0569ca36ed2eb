/* From the file's rate to the sink's, linear interpolation in 16.16 fixed point. The other half of the case's bug. */
#include "audio_plugin.h"
#include "console.h"
#include "heap_4.h"

#ifdef MENDED
int resample_ap_create(audio_plugin *plugin)
{
    plugin->buffer = pvPortCalloc(1, AP_BUFFER_BYTES);
    if (plugin->buffer == NULL) {
        console_line("resample_ap_create: no memory");
        return -1;
    }
    return 0;
}

__attribute__((noinline)) static int resample_ap_update_mode(audio_plugin *plugin, const audio_format *format)
{
    plugin->rate = format->rate;
    plugin->position = 0;
    plugin->last = 0;
    return 0;
}
#else
/* The same bug as in softvolume.c: each start overwrites the buffer of the start before. */
__attribute__((noinline)) static int resample_ap_update_mode(audio_plugin *plugin, const audio_format *format)
{
    plugin->buffer = pvPortCalloc(1, AP_BUFFER_BYTES);
    if (plugin->buffer == NULL) {
        console_line("resample_ap_update_mode: no memory");
        return -1;
    }
    plugin->rate = format->rate;
    plugin->position = 0;
    plugin->last = 0;
    return 0;
}
#endif

static const int16_t *resample_ap_process(audio_plugin *plugin, const int16_t *in, size_t *samples)
{
    uint32_t step = (uint32_t)(((uint64_t)plugin->rate << 16) / SINK_RATE);
    size_t out = 0;
    /* Position 0 is `last`, position 1.0 is in[0]. */
    while ((plugin->position >> 16) < *samples && out < AP_BUFFER_SAMPLES) {
        uint32_t at = plugin->position >> 16;
        int32_t fraction = (int32_t)(plugin->position & 0xffffu);
        int32_t left = at == 0 ? plugin->last : in[at - 1];
        int32_t right = in[at];
        plugin->buffer[out++] = (int16_t)(left + (((right - left) * (fraction >> 1)) >> 15));
        plugin->position += step;
    }
    if (*samples > 0) {
        plugin->position -= (uint32_t)*samples << 16;
        plugin->last = in[*samples - 1];
    }
    *samples = out;
    return plugin->buffer;
}

static void resample_ap_destroy(audio_plugin *plugin)
{
    if (plugin->buffer != NULL) {
        vPortFree(plugin->buffer);
        plugin->buffer = NULL;
    }
}

const audio_plugin resample_ap = {
    .name = "resample",
    .update_mode = resample_ap_update_mode,
    .process = resample_ap_process,
    .destroy = resample_ap_destroy,
};
