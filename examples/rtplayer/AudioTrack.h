/* One stream of audio: the plugins in a row, then the sink. */
#ifndef AUDIO_TRACK_H
#define AUDIO_TRACK_H

#include "audio_plugin.h"

typedef struct AudioTrack AudioTrack;

/* NULL with a line on the console when there is no memory. */
AudioTrack *AudioTrackCreate(void);
/* Each time that a round of playback begins. 0 or -1. */
int _AudioTrackStart(AudioTrack *track, const audio_format *format);
/* Returns when the samples are handed to the sink, or at once while the player is told to quit. */
void AudioTrackWrite(AudioTrack *track, const int16_t *samples, size_t count);
/* Returns when the sink has played all, or at once while the player is told to quit. */
void AudioTrackStop(AudioTrack *track);
void AudioTrackDestroy(AudioTrack *track);

#endif
