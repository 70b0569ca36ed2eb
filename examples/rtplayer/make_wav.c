/* Writes the demo's sound: a short tone that rises and falls, IMA ADPCM in a WAV file. So no binary is committed.
 * usage: make_wav FILE [MILLISECONDS] */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "ima_adpcm.h"

enum { RATE = 16000, BLOCK_BYTES = 256, BLOCK_SAMPLES = (BLOCK_BYTES - 4) * 2 + 1, HEADER_BYTES = 60 };

static int16_t tone(uint32_t n)
{
    double t = (double)n / RATE;
    double phase = 2 * 3.14159265358979 * (440 * t + 40 * sin(2 * 3.14159265358979 * 3 * t));
    return (int16_t)(12000 * sin(phase));
}

/* The code whose decoded value comes nearest: sixteen tries, as speed does not matter here. */
static int encode(ima_state *state, int16_t wanted)
{
    int best = 0;
    int32_t best_error = INT32_MAX;
    for (int code = 0; code < 16; code++) {
        ima_state trial = *state;
        int32_t error = abs(ima_decode(&trial, code) - wanted);
        if (error < best_error) {
            best_error = error;
            best = code;
        }
    }
    (void)ima_decode(state, best);
    return best;
}

static void put(FILE *file, uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        (void)fputc((int)((value >> (8 * i)) & 255u), file);
    }
}

static void put_header(FILE *file, uint32_t blocks)
{
    uint32_t data_bytes = blocks * BLOCK_BYTES;
    (void)fputs("RIFF", file);
    put(file, HEADER_BYTES - 8 + data_bytes, 4);
    (void)fputs("WAVEfmt ", file);
    put(file, 20, 4);
    put(file, 0x11, 2); /* IMA ADPCM */
    put(file, 1, 2);
    put(file, RATE, 4);
    put(file, RATE * BLOCK_BYTES / BLOCK_SAMPLES, 4);
    put(file, BLOCK_BYTES, 2);
    put(file, 4, 2);
    put(file, 2, 2);
    put(file, BLOCK_SAMPLES, 2);
    (void)fputs("fact", file);
    put(file, 4, 4);
    put(file, blocks * BLOCK_SAMPLES, 4);
    (void)fputs("data", file);
    put(file, data_bytes, 4);
}

int main(int argc, char *argv[])
{
    long milliseconds = argc > 2 ? strtol(argv[2], NULL, 10) : 250;
    FILE *file = argc > 1 && milliseconds > 0 ? fopen(argv[1], "wb") : NULL;
    if (file == NULL) {
        (void)fprintf(stderr, "usage: make_wav FILE [MILLISECONDS]\n");
        return 2;
    }
    uint32_t blocks = (uint32_t)(milliseconds * RATE / 1000 / BLOCK_SAMPLES) + 1;
    put_header(file, blocks);
    ima_state state = {0, 0};
    for (uint32_t block = 0, n = 0; block < blocks; block++) {
        state.predictor = tone(n++);
        put(file, (uint32_t)state.predictor & 0xffffu, 2);
        put(file, (uint32_t)state.index, 2);
        for (int i = 0; i < BLOCK_BYTES - 4; i++) {
            int low = encode(&state, tone(n++));
            int high = encode(&state, tone(n++));
            put(file, (uint32_t)(low | (high << 4)), 1);
        }
    }
    return fclose(file) == 0 ? 0 : 1;
}
