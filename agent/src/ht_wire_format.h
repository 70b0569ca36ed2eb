/* What both sides of the encoder know: kinds of frames, and how numbers stand in them. SPEC.md, "Wire". */
#ifndef HT_WIRE_FORMAT_H
#define HT_WIRE_FORMAT_H

#include "ht_wire.h"

/* Frame kinds, the low half of the first byte. 8 and up are events: 4 says 64-bit base, 0..3 the shift. */
enum { HELLO = 0, STACKS = 1, TASKS = 2, EVENTS = 8, WIDE_BASE = 4 };
#define KIND(kind) (uint8_t)(HT_WIRE_VERSION << 4 | (kind))

enum { UNSEEN = 0, DUE = 1, SENT = 2 }; /* a row's state: whether its definition is to be sent */

static inline uint32_t next_frame(const ht_wire *wire, uint32_t frame)
{
    return frame + 1 == wire->config.frame_count ? 0 : frame + 1;
}

#endif
