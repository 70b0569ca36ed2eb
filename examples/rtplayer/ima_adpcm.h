/* IMA ADPCM's step rule, for the decoder and for the generator of the sound file. The step table is the standard's. */
#ifndef IMA_ADPCM_H
#define IMA_ADPCM_H

#include <stdint.h>

enum { IMA_MAX_INDEX = 88 };

typedef struct {
    int32_t predictor;
    int32_t index;
} ima_state;

static inline int16_t ima_decode(ima_state *state, int code)
{
    static const int16_t STEPS[IMA_MAX_INDEX + 1] = {
        7,     8,     9,     10,    11,    12,    13,    14,    16,    17,    19,    21,    23,    25,    28,
        31,    34,    37,    41,    45,    50,    55,    60,    66,    73,    80,    88,    97,    107,   118,
        130,   143,   157,   173,   190,   209,   230,   253,   279,   307,   337,   371,   408,   449,   494,
        544,   598,   658,   724,   796,   876,   963,   1060,  1166,  1282,  1411,  1552,  1707,  1878,  2066,
        2272,  2499,  2749,  3024,  3327,  3660,  4026,  4428,  4871,  5358,  5894,  6484,  7132,  7845,  8630,
        9493,  10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767};
    static const int8_t MOVES[8] = {-1, -1, -1, -1, 2, 4, 6, 8};
    int32_t step = STEPS[state->index];
    int32_t change = step >> 3;
    change += (code & 4) != 0 ? step : 0;
    change += (code & 2) != 0 ? step >> 1 : 0;
    change += (code & 1) != 0 ? step >> 2 : 0;
    state->predictor += (code & 8) != 0 ? -change : change;
    state->predictor = state->predictor > 32767 ? 32767 : state->predictor < -32768 ? -32768 : state->predictor;
    state->index += MOVES[code & 7];
    state->index = state->index > IMA_MAX_INDEX ? IMA_MAX_INDEX : state->index < 0 ? 0 : state->index;
    return (int16_t)state->predictor;
}

#endif
