/* Reads IMA ADPCM blocks out of a WAV file, for as long as a round is to last. */
#include <stdio.h>
#include <string.h>

#include "console.h"
#include "heap_4.h"
#include "pipeline.h"
#include "rtplayer.h"

enum { WAVE_FORMAT_IMA_ADPCM = 0x11 };

static struct {
    FILE *file;
    long data_at;
    uint32_t data_bytes, rate;
    double round_s;
} source;

static uint32_t le(const uint8_t *bytes, int count)
{
    uint32_t value = 0;
    for (int i = count; i-- > 0;) {
        value = (value << 8) | bytes[i];
    }
    return value;
}

/* What is wrong with the file, or NULL. Fills `source`. */
static const char *read_header(void)
{
    uint8_t head[20];
    bool format_seen = false;
    if (fread(head, 1, 12, source.file) != 12 || memcmp(head, "RIFF", 4) != 0 || memcmp(head + 8, "WAVE", 4) != 0) {
        return "it is not a WAV file";
    }
    while (fread(head, 1, 8, source.file) == 8) {
        uint32_t bytes = le(head + 4, 4);
        bool is_data = memcmp(head, "data", 4) == 0;
        if (is_data && format_seen) {
            source.data_at = ftell(source.file);
            source.data_bytes = bytes - bytes % ADPCM_BLOCK_BYTES;
            return source.data_bytes == 0 ? "it holds no whole block" : NULL;
        }
        long next = ftell(source.file) + (long)bytes + (long)(bytes & 1u);
        if (memcmp(head, "fmt ", 4) == 0) {
            if (bytes < 16 || fread(head, 1, 16, source.file) != 16) {
                return "its format chunk is cut";
            }
            source.rate = le(head + 4, 4);
            format_seen = le(head, 2) == WAVE_FORMAT_IMA_ADPCM && le(head + 2, 2) == 1 &&
                          le(head + 12, 2) == ADPCM_BLOCK_BYTES && source.rate >= 8000 && source.rate <= 48000;
            if (!format_seen) {
                return "it is not IMA ADPCM, mono, 8 to 48 kHz, in blocks of 256 bytes";
            }
        }
        if (fseek(source.file, next, SEEK_SET) != 0) {
            break;
        }
    }
    return "it has no data chunk";
}

bool demux_open(const char *path, uint32_t *rate)
{
    source.file = fopen(path, "rb");
    const char *wrong = source.file == NULL ? "it cannot be opened" : read_header();
    if (wrong != NULL) {
        console_line("rtplayer_test: cannot play %s: %s", path, wrong);
        demux_close();
        return false;
    }
    *rate = source.rate;
    return true;
}

void demux_close(void)
{
    if (source.file != NULL) {
        (void)fclose(source.file);
        source.file = NULL;
    }
}

void demux_set_round(double seconds) { source.round_s = seconds; }

static uint64_t round_samples(void)
{
    uint64_t in_file = (uint64_t)(source.data_bytes / ADPCM_BLOCK_BYTES) * ADPCM_BLOCK_SAMPLES;
    uint64_t wanted = (uint64_t)(source.round_s * source.rate);
    return wanted > 0 ? wanted : in_file;
}

/* The file again and again until the round is long enough. */
static void play_round(pipeline *line)
{
    uint64_t left = round_samples();
    uint32_t read_bytes = source.data_bytes; /* begin with a seek */
    for (bool first = true; left > 0 && !rtplayer_quitting(); first = false) {
        packet *p = pvPortMalloc(sizeof *p);
        if (p == NULL) {
            console_line("Demux: no memory");
            rtplayer_failed();
            return;
        }
        if (read_bytes == source.data_bytes) {
            (void)fseek(source.file, source.data_at, SEEK_SET);
            read_bytes = 0;
        }
        if (fread(p->block, 1, sizeof p->block, source.file) != sizeof p->block) {
            console_line("Demux: the file is shorter than its header says");
            vPortFree(p);
            rtplayer_failed();
            return;
        }
        read_bytes += ADPCM_BLOCK_BYTES;
        p->first = first;
        p->samples = left < ADPCM_BLOCK_SAMPLES ? (size_t)left : ADPCM_BLOCK_SAMPLES;
        left -= p->samples;
        p->last = left == 0;
        queue_put(&line->to_decoder, (uintptr_t)p);
    }
}

void Demux_task(void *argument)
{
    pipeline *line = argument;
    void *index = NULL;
    while (queue_get(&line->to_demux) != PIPELINE_END) {
        owned_renew(&index, 640);
        play_round(line);
    }
    owned_free(&index);
    queue_put(&line->to_decoder, PIPELINE_END);
}
