/* Where the hooks tell the stream what they do: inside the lock, nothing at all without HT_STREAM. */
#ifndef HT_STREAM_TAP_H
#define HT_STREAM_TAP_H

#include "ht_stream.h"

#if HT_STREAM
#include "ht_wire_format.h"

/* An event of one of the kinds of ht_wire_format.h, by the running task, now. `age` is that of the block's birth. */
void ht_tap(unsigned kind, uintptr_t address, size_t size, uint32_t age, uint32_t stack);
void ht_tap_reset(void); /* numbers of stacks and tasks begin anew */

#define ht_tap_alloc(address, requested, stack) ht_tap(ALLOC, (address), (requested), 0, (stack))
#define ht_tap_failed(requested, stack) ht_tap(FAILED, 0, (requested), 0, (stack))
#define ht_tap_free(birth, stack) ht_tap(FREE, 0, 0, ht.born - (birth), (stack))
#define ht_tap_unknown_free(address) ht_tap(FREE_AT, (address), 0, 0, 0)
#define ht_tap_double_free(address, stack) ht_tap(DOUBLE_FREE, (address), 0, 0, (stack))
#define ht_tap_move(birth, moved, requested) ht_tap(REALLOC, (moved), (requested), ht.born - (birth), 0)

/* For the console: what the numbers are at, and whether events are being streamed. */
bool ht_stream_numbers(uint32_t *events, uint32_t *dropped);
#else
#define ht_tap_alloc(address, requested, stack) ((void)0)
#define ht_tap_failed(requested, stack) ((void)0)
#define ht_tap_free(birth, stack) ((void)0)
#define ht_tap_unknown_free(address) ((void)0)
#define ht_tap_double_free(address, stack) ((void)0)
#define ht_tap_move(birth, moved, requested) ((void)0)
#define ht_tap_reset() ((void)0)
#endif
#endif
