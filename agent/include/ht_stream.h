/* ht_stream.h - the agent's own event stream: what it records, also as it happens. Build with -DHT_STREAM=1.
 *
 * ON A LINE OF ITS OWN (a second UART, an RTT channel, a file): ht_stream_begin once, then hand what ht_stream_take gives
 * to the line, from a task of low priority.
 *
 * ON THE CONSOLE: name the function that writes raw bytes (ht_stream_output) at start-up, and call ht_stream_pump from the
 * console's task while it waits for a key, or from any one task of low priority. `memleak stream` and `memleak stream 0`
 * do the rest. SPEC.md, "Stream on the console", says how a reader finds the frames between the lines of text.
 *
 * Format: SPEC.md, "Wire". Without HT_STREAM all of this costs nothing: no code, no memory, no load in the hooks.
 * RAM: HT_STREAM_FRAMES x 256, HT_STACKS x 8, and some 200 bytes.
 */
#ifndef HT_STREAM_H
#define HT_STREAM_H

#include "ht_config.h"
#include "ht_wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Begin to stream what is recorded from now on; frees of older blocks are sent, too. ht_start begins it anew. */
void ht_stream_begin(void);

/* Tell nothing more. What waits, and a last greeting, are still there to be taken: do so until ht_stream_take says 0. */
void ht_stream_end(void);

/* Send every definition again: the reader is new. */
void ht_stream_repeat(void);

/* The next frame, ready to send; 0: nothing waits. With `flush` a frame that is not full counts as waiting, too. */
size_t ht_stream_take(uint8_t frame[HT_WIRE_FRAME_BYTES], bool flush);

/* A moment of the run: kinds in ht_wire.h. */
void ht_stream_mark(uint8_t kind, uint32_t number);

/* -- On the console ------------------------------------------------------------------------------------------------- */

/* Writes bytes as they are, "\n" left alone, all of them before it returns. If it takes the lock that keeps lines of text
 * whole, frames stay whole, too. Called with no lock of the agent's held, never from a hook. */
typedef void (*ht_stream_write)(void *context, const uint8_t *bytes, size_t count);
void ht_stream_output(ht_stream_write write, void *context);

/* Send one frame if one waits; with `flush` also one that is not full. False: there was none, or another task is at it.
 * Needs some 350 bytes of stack. */
bool ht_stream_pump(bool flush);

/* The clock, answered by a port or by the program: a count that wraps, and its rate. The agent's own (weak) answers are
 * 0, which means that there is none. Called inside the agent's lock. */
uint32_t ht_port_ticks(void);
uint32_t ht_port_ticks_per_s(void);

#ifdef __cplusplus
}
#endif
#endif
