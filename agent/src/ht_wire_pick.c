/* The event stream, the reader's side: which frame leaves next, and the frames of definitions.
 *
 * Definitions come before the events that need them, and are repeated in turn; a greeting tells numbers that no frame of
 * events will: at the beginning, now and then, and behind events that were dropped.
 */
#include <string.h>

#include "ht_wire_format.h"

static uint8_t *put(uint8_t *to, uintptr_t value, unsigned bytes)
{
    for (; bytes != 0; bytes--, value >>= 8) {
        *to++ = (uint8_t)value;
    }
    return to;
}

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
    bool all_left = wire->head == wire->tail && !wire->open;
    wire->hello_due = false;
    wire->tell_at_end = wire->tell_at_end && !all_left;
    *to++ = KIND(HELLO);
    to = put(to, all_left ? wire->events : config->frames[wire->tail].event, 4);
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
        /* In 64 bits on any target: 0x80000000 and above would else look negative on a 32-bit one. */
        int64_t step = (int64_t)((uint64_t)pcs[sent] - before);
        to = put_varint(to, step < 0 ? ~((uint64_t)step << 1) : (uint64_t)step << 1);
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
    if (wire->tail != wire->head) {
        return pick_events(wire, payload);
    }
    /* No later frame tells yet what was dropped behind the last one, and there may never be one. */
    return wire->tell_at_end && !wire->open ? pick_hello(wire, payload) : 0;
}
