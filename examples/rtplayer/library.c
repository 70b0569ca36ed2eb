#include "library.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "console.h"
#include "heap_4.h"

enum { HISTORY_BYTES = 24, TAG_BYTES = 200, COVER_BYTES = 512 };

typedef struct cover {
    struct cover *next;
    unsigned round;
    uint8_t pixels[COVER_BYTES];
} cover;

static library_options configured;
static atomic_uint faults_left;
static char *last_played;
static cover *covers; /* newest first */
static unsigned cover_count;

void library_configure(const library_options *options) { configured = *options; }

bool library_fault(unsigned rounds)
{
    if (configured.error_path) {
        atomic_store(&faults_left, rounds);
    }
    return configured.error_path;
}

/* A slow leak: the entry before is forgotten, not freed. */
__attribute__((noinline)) static void history_note(unsigned round)
{
    last_played = pvPortMalloc(HISTORY_BYTES);
    if (last_played != NULL) {
        (void)snprintf(last_played, HISTORY_BYTES, "round %u", round);
    }
}

/* No leak: it grows until it is full, and from then on its oldest cover makes room for the new one. */
__attribute__((noinline)) static void cache_cover(unsigned round)
{
    cover *c = NULL;
    if (cover_count < configured.cache_rounds) {
        c = pvPortMalloc(sizeof *c);
        cover_count += c != NULL ? 1 : 0;
    } else {
        cover **oldest = &covers;
        while ((*oldest)->next != NULL) {
            oldest = &(*oldest)->next;
        }
        c = *oldest;
        *oldest = NULL;
    }
    if (c != NULL) {
        memset(c->pixels, (int)(round & 255u), sizeof c->pixels);
        c->round = round;
        c->next = covers;
        covers = c;
    }
}

static bool next_is_damaged(void)
{
    unsigned left = atomic_load(&faults_left);
    while (left > 0 && !atomic_compare_exchange_weak(&faults_left, &left, left - 1)) {
    }
    return left > 0;
}

/* A leak on the error path alone: the early return forgets the block. */
__attribute__((noinline)) static int read_tags(void)
{
    char *tags = pvPortMalloc(TAG_BYTES);
    if (tags == NULL) {
        return -1;
    }
    if (next_is_damaged()) {
        console_line("read_tags: damaged, skipped");
        return -1;
    }
    memset(tags, 0, TAG_BYTES);
    vPortFree(tags);
    return 0;
}

void library_round_ended(unsigned round)
{
    if (configured.drip_rounds > 0 && round % configured.drip_rounds == 0) {
        history_note(round);
    }
    if (configured.cache_rounds > 0) {
        cache_cover(round);
    }
    if (configured.error_path) {
        (void)read_tags();
    }
}
