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

/* -- Events -------------------------------------------------------------------------------------------------------- */

/* Control bytes. */
enum {
    ALLOC = 0x00,   /* 0 t k s zz aa: time, task, stack, size, address */
    FREE = 0x80,    /* 10 t k ss gg: time, task, stack, age */
    FREE_AT = 0xc0, /* 110 t ss aa: time, stack, address; the stack's usual task */
    TIME = 0xe0, MARK = 0xe1, FAILED = 0xe2, FREE_AT_WIDE = 0xe3, REALLOC = 0xe4, DOUBLE_FREE = 0xe5,
};

/* An event's values in the order of the format; an address is one as the steps from the last one. */
enum { V_TIME, V_STACK, V_TASK, V_SIZE, V_AGE, V_STEPS, VALUES };
enum { VALUES_MOST = 16 }; /* bytes of one event's values: a realloc has 15 */

/* An event as it was told. The size of a mark is its number, its task its kind. */
struct ht_event {
    uintptr_t address;
    uint32_t value[VALUES];
};

/* Every event goes this way; what ht_wire.h offers are shapes of it. */
void ht_wire_add(ht_wire *wire, unsigned kind, struct ht_event *event, uint32_t now);

#endif
