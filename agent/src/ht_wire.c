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

/* Control bytes. */
enum {
    ALLOC = 0x00,   /* 0 t k s zz aa: time, task, stack, size, address */
    FREE = 0x80,    /* 10 t k ss gg: time, task, stack, age */
    FREE_AT = 0xc0, /* 110 t ss aa: time, stack, address; the stack's usual task */
    TIME = 0xe0, MARK = 0xe1, FAILED = 0xe2, FREE_AT_WIDE = 0xe3, REALLOC = 0xe4, DOUBLE_FREE = 0xe5,
};

enum { VALUES_MOST = 16 }; /* bytes of one event's values: a realloc has 15 */

static const uint8_t SHIFTS[4] = {0, 2, 3, 4};

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

/* One of an event's values: four bytes are stored, `bytes` of them stay. No loop, for the hooks' sake. */
static inline uint8_t *draw(uint8_t *to, uint32_t value, unsigned bytes)
{
    to[0] = (uint8_t)value;
    to[1] = (uint8_t)(value >> 8);
    to[2] = (uint8_t)(value >> 16);
    to[3] = (uint8_t)(value >> 24);
    return to + bytes;
}

/* Bytes that an unsigned value needs, 1 to 4. */
static unsigned width_of(uint32_t value) { return value < 0x100u ? 1 : value < 0x10000u ? 2 : value < 0x1000000u ? 3 : 4; }

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

/* An event is put together here, from its values in the order of the format. */
struct draft {
    uint8_t *at, values[VALUES_MOST + 4]; /* draw stores four bytes at once */
};

static void append(ht_wire_frame *frame, uint8_t control, const uint8_t *values, size_t bytes)
{
    frame->body[frame->count++] = control;
    uint8_t *to = frame->body + HT_WIRE_BODY_BYTES - frame->values - bytes;
    for (size_t i = 0; i < bytes; i++) {
        to[i] = values[i];
    }
    frame->values = (uint8_t)(frame->values + bytes);
}

/* Room for an event at `now`. A gap that no control byte can tell becomes an event of its own; a small one is put into
 * the draft where the event's shape has a place for it (`brief`), and through it the bit is told. */
static ht_wire_frame *begin(ht_wire *wire, struct draft *draft, uint32_t now, bool *brief)
{
    ht_wire_frame *frame = room(wire, now);
    draft->at = draft->values;
    if (frame == NULL) {
        wire->events++;
        wire->dropped += wire->dropped != UINT32_MAX;
        wire->tell_at_end = true;
        return NULL;
    }
    uint32_t gap = (int32_t)(now - wire->time) > 0 ? now - wire->time : 0;
    wire->time += gap;
    bool fits = brief != NULL && gap <= 0xffu;
    if (brief != NULL) {
        *brief = fits && gap != 0;
    }
    if (gap != 0 && fits) {
        draft->at = draw(draft->at, gap, 1);
    } else if (gap != 0) {
        uint8_t value[4];
        (void)draw(value, gap, 4);
        append(frame, TIME, value, 4);
        wire->events++;
    }
    return frame;
}

static void finish(ht_wire *wire, ht_wire_frame *frame, unsigned control, const struct draft *draft)
{
    append(frame, (uint8_t)control, draft->values, (size_t)(draft->at - draft->values));
    wire->events++;
}

/* -- Values -------------------------------------------------------------------------------------------------------- */

/* The stack's row, made at first sight; number 0 has one that knows nothing usual. */
static ht_wire_row *row_of(ht_wire *wire, uint32_t *stack, uint32_t size, uint8_t task)
{
    if (*stack >= wire->config.row_count) {
        *stack = 0;
    }
    ht_wire_row *row = &wire->config.rows[*stack];
    if (*stack != 0 && row->state == UNSEEN) {
        *row = (ht_wire_row){.size = size, .task = task, .state = DUE};
        wire->pending_rows++;
    }
    uint8_t bit = (uint8_t)(1u << (task & 7u));
    if ((wire->tasks_seen[task >> 3] & bit) == 0) {
        wire->tasks_seen[task >> 3] |= bit;
        wire->tasks_due[task >> 3] |= bit;
        wire->pending_tasks = true;
    }
    return row;
}

static bool usual_task(uint32_t stack, const ht_wire_row *row, uint8_t task) { return stack != 0 && row->task == task; }

/* How far `address` is from the last one, in steps of the frame's shift. Where that cannot be told in 32 bits, or the
 * address has lower bits than the shift keeps, the next frame begins at it, or keeps more. */
static int32_t distance(ht_wire *wire, uintptr_t address)
{
    uint8_t shift = wire->shift;
    while ((address & ((1u << SHIFTS[shift]) - 1u)) != 0) {
        shift--;
    }
    /* Both are counted from 0 or wrap alike, so the difference is right either way. */
    int64_t difference = (int64_t)((uint64_t)address - wire->address);
    int64_t steps = difference / ((int64_t)1 << SHIFTS[shift]);
    bool misfit = wire->open && wire->config.frames[wire->head].shift != shift;
    if (misfit || steps > INT32_MAX || steps < INT32_MIN || steps * ((int64_t)1 << SHIFTS[shift]) != difference) {
        close_frame(wire);
        wire->address = (uint64_t)address;
        steps = 0;
    }
    wire->shift = shift;
    return (int32_t)steps;
}

/* -- Events -------------------------------------------------------------------------------------------------------- */

void ht_wire_alloc(ht_wire *wire, uintptr_t address, uint32_t size, uint32_t stack, uint8_t task, uint32_t now)
{
    static const uint8_t SIZE_BYTES[4] = {0, 1, 2, 4};
    struct draft draft;
    bool brief;
    const ht_wire_row *row = row_of(wire, &stack, size, task);
    (void)room(wire, now); /* before the distance is taken: a new frame begins at the last address */
    int32_t steps = distance(wire, address);
    ht_wire_frame *frame = begin(wire, &draft, now, &brief);
    wire->births++;
    if (frame == NULL) {
        return;
    }
    bool known = usual_task(stack, row, task);
    unsigned stack_bytes = stack < 0x100u ? 1 : 2;
    unsigned address_bytes = signed_width_of(steps);
    unsigned size_code = stack != 0 && row->size == size ? 0 : size < 0x100u ? 1 : size < 0x10000u ? 2 : 3;
    draft.at = draw(draft.at, stack, stack_bytes);
    draft.at = draw(draft.at, task, known ? 0 : 1);
    draft.at = draw(draft.at, size, SIZE_BYTES[size_code]);
    draft.at = draw(draft.at, (uint32_t)steps, address_bytes);
    wire->address = (uint64_t)address;
    finish(wire, frame,
           ALLOC | (unsigned)brief << 6 | (unsigned)!known << 5 | (stack_bytes - 1) << 4 | size_code << 2 | (address_bytes - 1),
           &draft);
}

void ht_wire_free(ht_wire *wire, uint32_t age, uint32_t stack, uint8_t task, uint32_t now)
{
    struct draft draft;
    bool brief;
    const ht_wire_row *row = row_of(wire, &stack, 0, task);
    ht_wire_frame *frame = begin(wire, &draft, now, &brief);
    if (frame == NULL) {
        return;
    }
    bool known = usual_task(stack, row, task);
    unsigned stack_bytes = stack == 0 ? 0 : stack < 0x100u ? 1 : 2;
    unsigned age_bytes = width_of(age);
    draft.at = draw(draft.at, stack, stack_bytes);
    draft.at = draw(draft.at, task, known ? 0 : 1);
    draft.at = draw(draft.at, age, age_bytes);
    finish(wire, frame, FREE | (unsigned)brief << 5 | (unsigned)!known << 4 | stack_bytes << 2 | (age_bytes - 1), &draft);
}

void ht_wire_free_at(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now)
{
    struct draft draft;
    bool brief;
    const ht_wire_row *row = row_of(wire, &stack, 0, task);
    (void)room(wire, now);
    int32_t steps = distance(wire, address);
    bool known = usual_task(stack, row, task);
    ht_wire_frame *frame = begin(wire, &draft, now, known ? &brief : NULL);
    if (frame == NULL) {
        return;
    }
    wire->address = (uint64_t)address;
    if (known) {
        unsigned stack_bytes = stack < 0x100u ? 1 : 2;
        unsigned address_bytes = signed_width_of(steps);
        draft.at = draw(draft.at, stack, stack_bytes);
        draft.at = draw(draft.at, (uint32_t)steps, address_bytes);
        finish(wire, frame, FREE_AT | (unsigned)brief << 4 | stack_bytes << 2 | (address_bytes - 1), &draft);
    } else {
        draft.at = draw(draw(draw(draft.at, stack, 2), task, 1), (uint32_t)steps, 4);
        finish(wire, frame, FREE_AT_WIDE, &draft);
    }
}

void ht_wire_realloc(ht_wire *wire, uint32_t age, uintptr_t moved, uint32_t size, uint32_t stack, uint8_t task,
                     uint32_t now)
{
    struct draft draft;
    (void)row_of(wire, &stack, 0, task);
    (void)room(wire, now);
    int32_t steps = distance(wire, moved);
    ht_wire_frame *frame = begin(wire, &draft, now, NULL);
    if (frame != NULL) {
        wire->address = (uint64_t)moved;
        draft.at = draw(draw(draw(draft.at, stack, 2), task, 1), size, 4);
        draft.at = draw(draw(draft.at, age, 4), (uint32_t)steps, 4);
        finish(wire, frame, REALLOC, &draft);
    }
}

void ht_wire_failed(ht_wire *wire, uint32_t size, uint32_t stack, uint8_t task, uint32_t now)
{
    struct draft draft;
    (void)row_of(wire, &stack, size, task);
    ht_wire_frame *frame = begin(wire, &draft, now, NULL);
    if (frame != NULL) {
        draft.at = draw(draw(draw(draft.at, stack, 2), task, 1), size, 4);
        finish(wire, frame, FAILED, &draft);
    }
}

void ht_wire_double_free(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now)
{
    struct draft draft;
    (void)row_of(wire, &stack, 0, task);
    (void)room(wire, now);
    int32_t steps = distance(wire, address);
    ht_wire_frame *frame = begin(wire, &draft, now, NULL);
    if (frame != NULL) {
        wire->address = (uint64_t)address;
        draft.at = draw(draw(draw(draft.at, stack, 2), task, 1), (uint32_t)steps, 4);
        finish(wire, frame, DOUBLE_FREE, &draft);
    }
}

void ht_wire_mark(ht_wire *wire, uint8_t kind, uint32_t number, uint32_t now)
{
    struct draft draft;
    ht_wire_frame *frame = begin(wire, &draft, now, NULL);
    if (frame != NULL) {
        draft.at = draw(draw(draft.at, kind, 1), number, 4);
        finish(wire, frame, MARK, &draft);
    }
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
