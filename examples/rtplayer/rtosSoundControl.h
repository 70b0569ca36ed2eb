/* The player's view of the sound system. */
#ifndef RTOS_SOUND_CONTROL_H
#define RTOS_SOUND_CONTROL_H

#include "AudioTrack.h"

typedef struct {
    AudioTrack *track;
    audio_format format;
    unsigned starts;
} SoundDevice;

int RTSoundDeviceInit(SoundDevice *device, uint32_t rate); /* 0 or -1 */
int RTSoundDeviceStart(SoundDevice *device);               /* 0 or -1 */
void RTSoundDeviceWrite(SoundDevice *device, const int16_t *samples, size_t count);
void RTSoundDeviceStop(SoundDevice *device);
void RTSoundDeviceDestroy(SoundDevice *device);

#endif
