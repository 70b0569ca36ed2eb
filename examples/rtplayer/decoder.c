/* IMA ADPCM: each block begins with a sample and a step index, then two samples a byte, low half first. */
#include "console.h"
#include "heap_4.h"
#include "ima_adpcm.h"
#include "pipeline.h"
#include "rtplayer.h"

static void decode(const packet *in, sound *out)
{
    ima_state state = {
        .predictor = (int16_t)((unsigned)in->block[0] | ((unsigned)in->block[1] << 8)),
        .index = in->block[2] > IMA_MAX_INDEX ? IMA_MAX_INDEX : in->block[2],
    };
    out->pcm[0] = (int16_t)state.predictor;
    for (int i = 4, at = 1; i < ADPCM_BLOCK_BYTES; i++) {
        out->pcm[at++] = ima_decode(&state, in->block[i] & 15);
        out->pcm[at++] = ima_decode(&state, in->block[i] >> 4);
    }
    out->first = in->first;
    out->last = in->last;
    out->samples = in->samples;
}

void AudioDecode_task(void *argument)
{
    pipeline *line = argument;
    void *history = NULL;
    for (uintptr_t word; (word = queue_get(&line->to_decoder)) != PIPELINE_END;) {
        packet *in = (packet *)word;
        if (in->first) {
            owned_renew(&history, 1024);
        }
        sound *out = pvPortMalloc(sizeof *out);
        if (out != NULL) {
            decode(in, out);
            queue_put(&line->to_render, (uintptr_t)out);
        } else {
            console_line("AudioDecode: no memory");
            rtplayer_failed();
        }
        vPortFree(in);
    }
    owned_free(&history);
    queue_put(&line->to_render, PIPELINE_END);
}
