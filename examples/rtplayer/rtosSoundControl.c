#include "rtosSoundControl.h"

#include "console.h"

int RTSoundDeviceInit(SoundDevice *device, uint32_t rate)
{
    device->format.rate = rate;
    device->starts = 0;
    device->track = AudioTrackCreate();
    return device->track == NULL ? -1 : 0;
}

__attribute__((noinline)) int RTSoundDeviceStart(SoundDevice *device)
{
    int ret = device->track == NULL ? -1 : _AudioTrackStart(device->track, &device->format);
    if (ret != 0) {
        console_line("RTSoundDeviceStart: start %u failed", device->starts + 1);
        return ret;
    }
    device->starts++;
    return 0;
}

void RTSoundDeviceWrite(SoundDevice *device, const int16_t *samples, size_t count)
{
    AudioTrackWrite(device->track, samples, count);
}

void RTSoundDeviceStop(SoundDevice *device) { AudioTrackStop(device->track); }

void RTSoundDeviceDestroy(SoundDevice *device)
{
    if (device->track != NULL) {
        AudioTrackDestroy(device->track);
        device->track = NULL;
    }
}
