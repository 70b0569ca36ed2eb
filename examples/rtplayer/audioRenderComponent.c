/* Takes decoded sound to the sound device, which it starts at the beginning of every round. */
#include "heap_4.h"
#include "pipeline.h"
#include "rtosSoundControl.h"
#include "rtplayer.h"

typedef struct {
    SoundDevice device;
    bool started;
} AudioRender;

/* In the case's stack these two are inlined frames; so they are here. */
__attribute__((always_inline)) static inline void startSoundDevice(AudioRender *render)
{
    render->started = RTSoundDeviceStart(&render->device) == 0;
    if (render->started) {
        rtplayer_started();
    } else {
        rtplayer_failed();
    }
}

__attribute__((always_inline)) static inline void doRender(AudioRender *render, const sound *s)
{
    if (s->first) {
        startSoundDevice(render);
    }
    if (render->started) {
        RTSoundDeviceWrite(&render->device, s->pcm, s->samples);
    }
    if (render->started && s->last) {
        RTSoundDeviceStop(&render->device);
        render->started = false;
        rtplayer_round_done();
    }
}

void AudioRender_task(void *argument)
{
    pipeline *line = argument;
    AudioRender render = {.started = false};
    bool ready = RTSoundDeviceInit(&render.device, line->rate) == 0;
    if (!ready) {
        rtplayer_failed();
    }
    for (uintptr_t word; (word = queue_get(&line->to_render)) != PIPELINE_END;) {
        sound *s = (sound *)word;
        if (ready) {
            doRender(&render, s);
        }
        vPortFree(s);
    }
    RTSoundDeviceDestroy(&render.device);
}
