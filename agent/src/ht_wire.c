/* The event stream, the hooks' side: events go into frames. See ht_wire.h for the contract and SPEC.md, "Wire", for the
 * format.
 *
 * An event is one control byte, which says what follows, and its values, each of a width that the control byte tells.
 * Controls stand together and values stand together, so a reader finds every value with one table and one running sum.
 * A value that fits no width is no special case: the frame is closed, and the next one's header carries it in full.
 */
#include "ht_wire_format.h"

#include <string.h>

__attribute__((used)) const char ht_wire_version[] = "heaptrail.wire/1";
_Static_assert(HT_WIRE_VERSION == 1, "ht_wire_version says it in letters");

/* Widths that do not depend on the values: MARK to DOUBLE_FREE. */
static const uint8_t WIDE[][VALUES] = {
    {0, 0, 1, 4, 0, 0}, {0, 2, 1, 4, 0, 0}, {0, 2, 1, 0, 0, 4}, {0, 2, 1, 4, 4, 4}, {0, 2, 1, 0, 0, 4},
};

static const uint8_t SHIFTS[4] = {0, 2, 3, 4};

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

/* Bytes that an unsigned value needs, 1 to 4. */
static unsigned width_of(uint32_t value)
{
    unsigned bytes = 1;
    while (bytes < 4 && value >> (8 * bytes) != 0) {
        bytes++;
    }
    return bytes;
}

/* The same for a difference, with its sign. */
static unsigned signed_width_of(int32_t value)
{
    return width_of((uint32_t)(value < 0 ? ~value : value) << 1); /* one bit more for the sign */
}

/* -- Frames that fill ---------------------------------------------------------------------------------------------- */

bool ht_wire_open(ht_wire *wire, const ht_wire_config *config)
{
    if (config->frame_count < 2 || config->row_count == 0 || config->row_count > 65536u) {
        return false;
    }
    memset(wire, 0, sizeof *wire);
    memset(config->rows, 0, config->row_count * sizeof config->rows[0]);
    wire->config = *config;
    wire->shift = 3; /* 16 bytes; lowered by the first address that needs it */
    wire->hello_due = true;
    return true;
}

static void close_frame(ht_wire *wire)
{
    if (wire->open && wire->config.frames[wire->head].count != 0) {
        wire->head = next_frame(wire, wire->head);
    }
    wire->open = false;
}

void ht_wire_flush(ht_wire *wire) { close_frame(wire); }

void ht_wire_end(ht_wire *wire)
{
    close_frame(wire);
    wire->tell_at_end = true;
}

/* The frame that has room for one more event, and one of TIME before it; NULL: the reader is behind. */
static ht_wire_frame *room(ht_wire *wire, uint32_t now)
{
    ht_wire_frame *frame = &wire->config.frames[wire->head];
    if (wire->open && frame->count + frame->values + VALUES_MOST + 6u > HT_WIRE_BODY_BYTES) {
        close_frame(wire);
    }
    if (wire->open) {
        return frame;
    }
    if (next_frame(wire, wire->head) == wire->tail) {
        return NULL;
    }
    frame = &wire->config.frames[wire->head];
    if ((int32_t)(now - wire->time) > 0) {
        wire->time = now;
    }
    frame->base = wire->address;
    frame->event = wire->events;
    frame->birth = wire->births;
    frame->time = wire->time;
    frame->count = frame->values = 0;
    frame->shift = wire->shift;
    wire->open = true;
    return frame;
}

static void append(ht_wire_frame *frame, unsigned control, const uint32_t value[VALUES], const uint8_t width[VALUES])
{
    frame->body[frame->count++] = (uint8_t)control;
    unsigned bytes = 0;
    for (int i = 0; i < VALUES; i++) {
        bytes += width[i];
    }
    frame->values = (uint8_t)(frame->values + bytes);
    uint8_t *to = frame->body + HT_WIRE_BODY_BYTES - frame->values;
    for (int i = 0; i < VALUES; i++) {
        uint32_t left = value[i];
        for (unsigned k = width[i]; k != 0; k--, left >>= 8) {
            *to++ = (uint8_t)left;
        }
    }
}

/* -- Events -------------------------------------------------------------------------------------------------------- */

/* The stack's row, made at first sight; number 0 has one that knows nothing usual. What is usual in size is an
 * allocation's. */
static ht_wire_row *row_of(ht_wire *wire, unsigned kind, uint32_t value[VALUES])
{
    uint32_t task = value[V_TASK];
    uint8_t bit = (uint8_t)(1u << (task & 7u));
    if (value[V_STACK] >= wire->config.row_count) {
        value[V_STACK] = 0;
    }
    ht_wire_row *row = &wire->config.rows[value[V_STACK]];
    if (value[V_STACK] != 0 && row->state == UNSEEN) {
        *row = (ht_wire_row){.size = kind == REALLOC ? 0 : value[V_SIZE], .task = (uint8_t)task, .state = DUE};
        wire->pending_rows++;
    }
    if ((wire->tasks_seen[task >> 3] & bit) == 0) {
        wire->tasks_seen[task >> 3] |= bit;
        wire->tasks_due[task >> 3] |= bit;
        wire->pending_tasks = true;
    }
    return row;
}

/* How far `address` is from the last one, in steps of the frame's shift. Where that cannot be told in 32 bits, or the
 * address has lower bits than the shift keeps, the next frame begins at it, or keeps more. */
static uint32_t distance(ht_wire *wire, uintptr_t address)
{
    uint8_t shift = wire->shift;
    while ((address & ((1u << SHIFTS[shift]) - 1u)) != 0) {
        shift--;
    }
    unsigned bits = SHIFTS[shift];
    uintptr_t before = wire->address >> bits;
    uintptr_t here = address >> bits;
    uintptr_t far = here > before ? here - before : before - here;
    bool misfit = wire->open && wire->config.frames[wire->head].shift != shift;
    wire->shift = shift;
    if (misfit || far > INT32_MAX || (wire->address & ((1u << bits) - 1u)) != 0) {
        close_frame(wire);
        wire->address = address;
        return 0;
    }
    return (uint32_t)(here - before);
}

/* The narrowest form of an event: its control byte, and the widths that this tells. */
static unsigned narrow(unsigned kind, const struct ht_event *event, const ht_wire_row *row, bool known, uint8_t width[VALUES])
{
    const uint32_t *value = event->value;
    unsigned stack = value[V_STACK] < 0x100u ? 1 : 2;
    unsigned age = width_of(value[V_AGE]);
    unsigned steps = signed_width_of((int32_t)value[V_STEPS]);
    unsigned size = value[V_STACK] != 0 && row->size == value[V_SIZE] ? 0 : width_of(value[V_SIZE]);
    unsigned timed = value[V_TIME] != 0;
    width[V_TIME] = (uint8_t)timed;
    width[V_TASK] = !known;
    if (kind == ALLOC) {
        unsigned code = size < 3 ? size : 3;
        width[V_STACK] = (uint8_t)stack;
        width[V_SIZE] = code == 3 ? 4 : (uint8_t)size;
        width[V_STEPS] = (uint8_t)steps;
        return kind | timed << 6 | !known << 5 | (stack - 1) << 4 | code << 2 | (steps - 1);
    }
    stack = value[V_STACK] == 0 ? 0 : stack;
    width[V_STACK] = (uint8_t)stack;
    width[kind == FREE ? V_AGE : V_STEPS] = (uint8_t)(kind == FREE ? age : steps);
    return kind == FREE ? kind | timed << 5 | !known << 4 | stack << 2 | (age - 1) : kind | timed << 4 | stack << 2 | (steps - 1);
}

/* A gap in time that the control byte cannot tell becomes an event of its own. */
void ht_wire_add(ht_wire *wire, unsigned kind, struct ht_event *event, uint32_t now)
{
    static const ht_wire_row NOTHING_USUAL;
    static const uint8_t TIME_WIDTH[VALUES] = {4};
    uint8_t narrowed[VALUES] = {0};
    const ht_wire_row *row = kind == MARK ? &NOTHING_USUAL : row_of(wire, kind, event->value);
    bool known = event->value[V_STACK] != 0 && row->task == event->value[V_TASK];
    kind = kind == FREE_AT && !known ? FREE_AT_WIDE : kind;
    const uint8_t *width = kind >= MARK ? WIDE[kind - MARK] : narrowed;
    bool placed = kind == ALLOC || kind == FREE_AT || width[V_STEPS] != 0;
    if (placed) {
        (void)room(wire, now); /* before the distance is taken: a new frame begins at the last address */
        event->value[V_STEPS] = distance(wire, event->address);
    }
    ht_wire_frame *frame = room(wire, now);
    wire->births += kind == ALLOC;
    if (frame == NULL) {
        wire->events++;
        wire->dropped += wire->dropped != UINT32_MAX;
        wire->tell_at_end = true;
        return;
    }
    if ((int32_t)(now - wire->time) > 0) {
        event->value[V_TIME] = now - wire->time;
        wire->time = now;
    }
    if (event->value[V_TIME] > (width == narrowed ? 0xffu : 0)) {
        append(frame, TIME, event->value, TIME_WIDTH);
        event->value[V_TIME] = 0;
        wire->events++;
    }
    if (width == narrowed) {
        kind = narrow(kind, event, row, known, narrowed);
    }
    append(frame, kind, event->value, width);
    wire->address = placed ? event->address : wire->address;
    wire->events++;
}

void ht_wire_alloc(ht_wire *wire, uintptr_t address, uint32_t size, uint32_t stack, uint8_t task, uint32_t now)
{
    ht_wire_add(wire, ALLOC, &(struct ht_event){.address = address, .value[V_SIZE] = size, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_free(ht_wire *wire, uint32_t age, uint32_t stack, uint8_t task, uint32_t now)
{
    ht_wire_add(wire, FREE, &(struct ht_event){.value[V_AGE] = age, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_free_at(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now)
{
    ht_wire_add(wire, FREE_AT, &(struct ht_event){.address = address, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_realloc(ht_wire *wire, uint32_t age, uintptr_t moved, uint32_t size, uint32_t stack, uint8_t task,
                     uint32_t now)
{
    ht_wire_add(wire, REALLOC, &(struct ht_event){.address = moved, .value[V_SIZE] = size, .value[V_AGE] = age, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_failed(ht_wire *wire, uint32_t size, uint32_t stack, uint8_t task, uint32_t now)
{
    ht_wire_add(wire, FAILED, &(struct ht_event){.value[V_SIZE] = size, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_double_free(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now)
{
    ht_wire_add(wire, DOUBLE_FREE, &(struct ht_event){.address = address, .value[V_STACK] = stack, .value[V_TASK] = task}, now);
}

void ht_wire_mark(ht_wire *wire, uint8_t kind, uint32_t number, uint32_t now)
{
    ht_wire_add(wire, MARK, &(struct ht_event){.value[V_SIZE] = number, .value[V_TASK] = kind}, now);
}

void ht_wire_repeat(ht_wire *wire)
{
    wire->hello_due = true;
    wire->pending_rows = 0;
    for (uint32_t i = 1; i < wire->config.row_count; i++) {
        ht_wire_row *row = &wire->config.rows[i];
        row->state = row->state == UNSEEN ? UNSEEN : DUE;
        wire->pending_rows += row->state == DUE;
    }
    memcpy(wire->tasks_due, wire->tasks_seen, sizeof wire->tasks_due);
    wire->pending_tasks = true;
}
