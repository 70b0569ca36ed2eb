/* The player: demux, decode, render, round after round. */
#ifndef RTPLAYER_H
#define RTPLAYER_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double round_s;           /* sound in one round, whatever the file's length; 0: the file's */
    double rounds_per_second; /* at most; 0: no cap */
} rtplayer_options;

void rtplayer_configure(const rtplayer_options *options);

/* Play a WAV file (IMA ADPCM, mono, 8 to 48 kHz). Returns when its first sound is on the way, or cannot be: false with
 * a line on the console. */
bool rtplayer_play(const char *path);
/* From now on begin again at the end of each round. */
bool rtplayer_loop(void);
/* `rtpc q`: end playback and give back what it holds. False: nothing plays. */
bool rtplayer_quit(void);

/* -- For the player's own tasks ------------------------------------------------------------------------------------ */

bool rtplayer_quitting(void);
void rtplayer_started(void);
/* The round's sound has been played, or it cannot be: what it was is on the console already. */
void rtplayer_round_done(void);
void rtplayer_failed(void);

#endif
