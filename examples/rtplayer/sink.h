/* Where the sound goes: a mixer buffer that the AudioMT2pb task plays at the speed asked for. */
#ifndef SINK_H
#define SINK_H

#include <stddef.h>
#include <stdint.h>

typedef struct sink sink;

/* For all sinks opened later. `speed` 1 is real time, 0 as fast as it can. `path` NULL: played to nowhere, else the file
 * that gets the samples (48 kHz, mono, 16 bits, native order). */
void sink_configure(double speed, const char *path);

sink *sink_open(void); /* NULL with a line on the console */
void sink_start(sink *s);
void sink_write(sink *s, const int16_t *samples, size_t count);
void sink_drain(sink *s);
void sink_close(sink *s); /* NULL is allowed */

#endif
