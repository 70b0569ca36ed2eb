/* The event stream: see ht_wire.h for the contract and SPEC.md, "Wire, version 1", for the format.
 *
 * An event is one control byte, which says what follows, and its values, each of a width that the control byte tells.
 * Controls stand together and values stand together, so a reader finds every value with one table and one running sum.
 * A value that fits no width is no special case: the frame is closed, and the next one's header carries it in full.
 */
#include "ht_wire.h"

#include <string.h>

__attribute__((used)) const char ht_wire_version[] = "heaptrail.wire/1";
_Static_assert(HT_WIRE_VERSION == 1, "ht_wire_version says it in letters");

/* Frame kinds, the low half of the first byte. 8 and up are events: 4 says 64-bit base, 0..3 the shift. */
enum { HELLO = 0, STACKS = 1, TASKS = 2, EVENTS = 8, WIDE_BASE = 4 };
#define KIND(kind) (uint8_t)(HT_WIRE_VERSION << 4 | (kind))

/* Control bytes. */
enum {
    ALLOC = 0x00,   /* 0 t k s zz aa: time, task, stack, size, address */
    FREE = 0x80,    /* 10 t k ss gg: time, task, stack, age */
    FREE_AT = 0xc0, /* 110 t ss aa: time, stack, address; the stack's usual task */
    TIME = 0xe0, MARK = 0xe1, FAILED = 0xe2, FREE_AT_WIDE = 0xe3, REALLOC = 0xe4, DOUBLE_FREE = 0xe5,
};

enum { UNSEEN = 0, DUE = 1, SENT = 2 };
enum { VALUES_MOST = 16 }; /* bytes of one event's values: a realloc has 15 */

static const uint8_t SHIFTS[4] = {0, 2, 3, 4};

/* -- Numbers ------------------------------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        *to++ = (uint8_t)(value >> (8 * i));
    }
    return to;
}

/* The same for an event's values: four bytes are stored, `bytes` of them stay. No loop, for the hooks' sake. */
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

static uint32_t next_frame(const ht_wire *wire, uint32_t frame)
{
    return frame + 1 == wire->config.frame_count ? 0 : frame + 1;
}

static void close_frame(ht_wire *wire)
{
    if (wire->open && wire->config.frames[wire->head].count != 0) {
        wire->head = next_frame(wire, wire->head);
    }
    wire->open = false;
}

void ht_wire_flush(ht_wire *wire) { close_frame(wire); }

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

/* -- Frames that leave --------------------------------------------------------------------------------------------- */

static uint8_t *put_varint(uint8_t *to, uint64_t value)
{
    for (; value >= 0x80u; value >>= 7) {
        *to++ = (uint8_t)(value | 0x80u);
    }
    *to++ = (uint8_t)value;
    return to;
}

enum { PAYLOAD_MOST = 252, VARINT_MOST = 10, CUT = 0x80 };

static size_t pick_hello(ht_wire *wire, uint8_t *payload)
{
    const ht_wire_config *config = &wire->config;
    uint32_t id_bytes = config->build_id == NULL ? 0 : config->build_id_bytes < 20 ? config->build_id_bytes : 20;
    uint8_t *to = payload;
    wire->hello_due = false;
    *to++ = KIND(HELLO);
    to = put(to, wire->config.frames[wire->tail].event, 4);
    if (wire->head == wire->tail && !wire->open) {
        to = put(payload + 1, wire->events, 4);
    }
    *to++ = (uint8_t)sizeof(uintptr_t);
    to = put(put(to, config->ticks_per_s, 4), wire->dropped, 4);
    *to++ = (uint8_t)id_bytes;
    for (uint32_t i = 0; i < id_bytes; i++) {
        *to++ = config->build_id[i];
    }
    return (size_t)(to - payload);
}

static size_t pick_tasks(ht_wire *wire, uint8_t *payload)
{
    uint8_t *to = payload;
    *to++ = KIND(TASKS);
    for (unsigned task = 0; task < 256; task++) {
        uint8_t bit = (uint8_t)(1u << (task & 7u));
        if ((wire->tasks_due[task >> 3] & bit) == 0) {
            continue;
        }
        if (to - payload + 6 + (int)HT_WIRE_NAME_BYTES > PAYLOAD_MOST) {
            return (size_t)(to - payload); /* the rest next time */
        }
        uint32_t id = 0;
        const char *name = wire->config.task != NULL ? wire->config.task(wire->config.context, (uint8_t)task, &id) : NULL;
        size_t letters = 0;
        while (name != NULL && letters < HT_WIRE_NAME_BYTES && name[letters] != 0) {
            letters++;
        }
        *to++ = (uint8_t)task;
        to = put(to, id, 4);
        *to++ = (uint8_t)letters;
        for (size_t i = 0; i < letters; i++) {
            *to++ = (uint8_t)name[i];
        }
        wire->tasks_due[task >> 3] &= (uint8_t)~bit;
    }
    wire->pending_tasks = false;
    return (size_t)(to - payload);
}

/* One stack's definition; NULL: there is no room for it behind others. Alone in a frame it is cut to what fits. */
static uint8_t *put_stack(ht_wire *wire, uint8_t *to, const uint8_t *end, uint32_t number, bool alone)
{
    uintptr_t pcs[HT_WIRE_DEPTH];
    const ht_wire_row *row = &wire->config.rows[number];
    size_t depth = wire->config.stack != NULL ? wire->config.stack(wire->config.context, number, pcs, HT_WIRE_DEPTH) : 0;
    if (end - to < 2 + 1 + VARINT_MOST + 1) {
        return NULL;
    }
    to = put(to, number, 2);
    *to++ = row->task;
    to = put_varint(to, row->size);
    uint8_t *depth_at = to++;
    uintptr_t before = 0;
    size_t sent = 0;
    for (; sent < depth && end - to >= VARINT_MOST; sent++) {
        intptr_t step = (intptr_t)(pcs[sent] - before);
        to = put_varint(to, (uint64_t)(uintptr_t)(step < 0 ? ~((uintptr_t)step << 1) : (uintptr_t)step << 1));
        before = pcs[sent];
    }
    if (sent < depth && !alone) {
        return NULL;
    }
    *depth_at = (uint8_t)(sent | (sent < depth ? CUT : 0u));
    return to;
}

/* New stacks if there are any, else the ones whose turn it is. One round through the rows at most. */
static size_t pick_stacks(ht_wire *wire, uint8_t *payload)
{
    uint8_t *to = payload;
    bool anew = wire->pending_rows == 0;
    uint32_t number = anew ? wire->next_row : 0;
    *to++ = KIND(STACKS);
    for (uint32_t left = wire->config.row_count; left != 0; left--) {
        number = number + 1 >= wire->config.row_count ? 0 : number + 1;
        ht_wire_row *row = &wire->config.rows[number];
        if (number == 0 || (anew ? row->state != SENT : row->state != DUE)) {
            continue;
        }
        uint8_t *after = put_stack(wire, to, payload + PAYLOAD_MOST, number, to == payload + 1);
        if (after == NULL) {
            break;
        }
        to = after;
        wire->pending_rows -= row->state == DUE;
        row->state = SENT;
        if (anew) {
            wire->next_row = number;
        }
    }
    return to == payload + 1 ? 0 : (size_t)(to - payload);
}

static size_t pick_events(ht_wire *wire, uint8_t *payload)
{
    const ht_wire_frame *frame = &wire->config.frames[wire->tail];
    bool wide = frame->base > UINT32_MAX;
    uint8_t *to = payload;
    *to++ = KIND(EVENTS | (wide ? WIDE_BASE : 0) | frame->shift);
    *to++ = frame->count;
    to = put(put(put(to, frame->event, 4), frame->birth, 4), frame->time, 4);
    to = put(to, frame->base, wide ? 8 : 4);
    memcpy(to, frame->body, frame->count);
    to += frame->count;
    memcpy(to, frame->body + HT_WIRE_BODY_BYTES - frame->values, frame->values);
    to += frame->values;
    wire->tail = next_frame(wire, wire->tail);
    wire->frames_sent++;
    wire->repeat_due = wire->frames_sent % HT_WIRE_REPEAT == 0;
    return (size_t)(to - payload);
}

size_t ht_wire_pick(ht_wire *wire, uint8_t frame[HT_WIRE_FRAME_BYTES])
{
    uint8_t *payload = frame + 1;
    if (wire->hello_due) {
        return pick_hello(wire, payload);
    }
    if (wire->pending_tasks) {
        return pick_tasks(wire, payload);
    }
    if (wire->pending_rows != 0) {
        return pick_stacks(wire, payload);
    }
    if (wire->repeat_due) {
        wire->repeat_due = false;
        wire->hello_due = wire->frames_sent % (4 * HT_WIRE_REPEAT) == 0;
        if (wire->hello_due) {
            memcpy(wire->tasks_due, wire->tasks_seen, sizeof wire->tasks_due);
            wire->pending_tasks = true;
        }
        size_t bytes = pick_stacks(wire, payload);
        if (bytes != 0) {
            return bytes;
        }
    }
    return wire->tail != wire->head ? pick_events(wire, payload) : 0;
}

/* CRC-16 with polynomial 0x1021, from 0xffff, high bit first ("CCITT-FALSE"); two table steps a byte. */
static uint16_t checksum(const uint8_t *bytes, size_t count)
{
    static const uint16_t STEP[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                      0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    uint16_t crc = 0xffff;
    for (size_t i = 0; i < count; i++) {
        crc = (uint16_t)(crc << 4) ^ STEP[(crc >> 12) ^ (bytes[i] >> 4)];
        crc = (uint16_t)(crc << 4) ^ STEP[(crc >> 12) ^ (bytes[i] & 15u)];
    }
    return crc;
}

size_t ht_wire_seal(uint8_t frame[HT_WIRE_FRAME_BYTES], size_t picked)
{
    uint8_t *payload = frame + 1;
    uint16_t crc = checksum(payload, picked);
    payload[picked] = (uint8_t)(crc >> 8);
    payload[picked + 1] = (uint8_t)crc;
    size_t bytes = picked + 2;

    /* The key is a value that does not occur, so that no byte becomes zero when it is XORed with it. 254 bytes cannot
     * use up 255 values. */
    uint8_t used[32] = {0};
    for (size_t i = 0; i < bytes; i++) {
        used[payload[i] >> 3] |= (uint8_t)(1u << (payload[i] & 7u));
    }
    unsigned key = 1;
    while ((used[key >> 3] & (1u << (key & 7u))) != 0) {
        key++;
    }
    frame[0] = (uint8_t)key;
    for (size_t i = 0; i < bytes; i++) {
        payload[i] = (uint8_t)(payload[i] ^ key);
    }
    payload[bytes] = 0;
    return bytes + 2;
}
