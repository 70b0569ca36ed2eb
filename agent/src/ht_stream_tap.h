/* Where the hooks tell the stream what they do: inside the lock, nothing at all without HT_STREAM. */
#ifndef HT_STREAM_TAP_H
#define HT_STREAM_TAP_H

#include "ht_stream.h"

#if HT_STREAM
void ht_tap_alloc(uintptr_t address, size_t requested, uint32_t stack, uint32_t thread);
void ht_tap_failed(size_t requested, uint32_t stack, uint32_t thread);
void ht_tap_free(uint32_t birth, uint32_t stack);
void ht_tap_unknown_free(uintptr_t address);
void ht_tap_misuse(uintptr_t address, const uintptr_t *pcs, size_t depth); /* a double free; 0 is no address */
void ht_tap_move(uint32_t birth, uintptr_t moved, size_t requested);
void ht_tap_reset(void); /* numbers of stacks and tasks begin anew */

/* For the console: what the numbers are at, and whether events are being streamed. */
bool ht_stream_numbers(uint32_t *events, uint32_t *dropped);
#else
#define ht_tap_alloc(address, requested, stack, thread) ((void)0)
#define ht_tap_failed(requested, stack, thread) ((void)0)
#define ht_tap_free(birth, stack) ((void)0)
#define ht_tap_unknown_free(address) ((void)0)
#define ht_tap_misuse(address, pcs, depth) ((void)0)
#define ht_tap_move(birth, moved, requested) ((void)0)
#define ht_tap_reset() ((void)0)
#endif
#endif
