#include "AudioTrack.h"

#include "console.h"
#include "heap_4.h"
#include "sink.h"

enum { MAX_PLUGINS = 4, CHUNK_SAMPLES = 256 }; /* 256 in at 8 kHz are 1,537 out: less than a plugin buffer */

struct AudioTrack {
    audio_plugin plugins[MAX_PLUGINS];
    int plugin_count;
    sink *output;
};

static AudioTrack *AudioTrackCreateWithStream(void)
{
    AudioTrack *track = pvPortCalloc(1, sizeof *track);
    if (track == NULL) {
        console_line("AudioTrackCreateWithStream: no memory");
        return NULL;
    }
    track->plugins[track->plugin_count++] = softvol_ap;
    track->plugins[track->plugin_count++] = resample_ap;
    track->output = sink_open();
    int made = track->output == NULL ? -1 : 0;
#ifdef MENDED
    if (made == 0) {
        made = softvol_ap_create(&track->plugins[0]) | resample_ap_create(&track->plugins[1]);
    }
#endif
    if (made != 0) {
        AudioTrackDestroy(track);
        return NULL;
    }
    return track;
}

AudioTrack *AudioTrackCreate(void) { return AudioTrackCreateWithStream(); }

__attribute__((noinline)) int _AudioTrackStart(AudioTrack *track, const audio_format *format)
{
    for (int i = 0; i < track->plugin_count; i++) {
        audio_plugin *plugin = &track->plugins[i];
        int ret = plugin->update_mode(plugin, format);
        if (ret != 0) {
            console_line("_AudioTrackStart: %s failed", plugin->name);
            return ret;
        }
    }
    sink_start(track->output);
    return 0;
}

void AudioTrackWrite(AudioTrack *track, const int16_t *samples, size_t count)
{
    while (count > 0) {
        size_t chunk = count < CHUNK_SAMPLES ? count : CHUNK_SAMPLES;
        size_t out_count = chunk;
        const int16_t *out = samples;
        for (int i = 0; i < track->plugin_count; i++) {
            out = track->plugins[i].process(&track->plugins[i], out, &out_count);
        }
        sink_write(track->output, out, out_count);
        samples += chunk;
        count -= chunk;
    }
}

void AudioTrackStop(AudioTrack *track) { sink_drain(track->output); }

void AudioTrackDestroy(AudioTrack *track)
{
    for (int i = 0; i < track->plugin_count; i++) {
        track->plugins[i].destroy(&track->plugins[i]);
    }
    sink_close(track->output);
    vPortFree(track);
}
