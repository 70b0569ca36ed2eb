/* The agent's tables, as the event stream wants to see them. The contract is in ht_stream.h. */
#include "ht_stream.h"

#if HT_STREAM

#include "ht_store.h"
#include "ht_stream_tap.h"

static ht_wire wire;
static ht_wire_frame frames[HT_STREAM_FRAMES];
static ht_wire_row rows[HT_STACKS + 1];
static enum { CLOSED, OPEN, ENDING } state; /* ENDING: nothing new is told, what waits may still be taken */

__attribute__((weak)) uint32_t ht_port_ticks(void) { return 0; }
__attribute__((weak)) uint32_t ht_port_ticks_per_s(void) { return 0; }

static size_t stack_of(void *context, uint32_t number, uintptr_t *pcs, size_t max)
{
    (void)context;
    if (number == 0 || number > ht.stack_count) {
        return 0;
    }
    const struct ht_stack *stack = &ht.stacks[number];
    size_t depth = stack->depth < max ? stack->depth : max;
    for (size_t i = 0; i < depth; i++) {
        pcs[i] = HT_SHOWN_ADDRESS(ht.frames[stack->first_frame + i]);
    }
    return depth;
}

static const char *task_of(void *context, uint8_t number, uint32_t *id)
{
    (void)context;
    *id = ht.thread_ids[number <= HT_THREADS ? number : HT_THREADS];
    return number <= HT_THREADS ? ht.threads[number].name : NULL;
}

static void open_anew(void)
{
    const uint8_t *id = NULL;
    size_t id_bytes = ht_port_build_id(&id);
    ht_wire_config config = {.frames = frames, .frame_count = HT_STREAM_FRAMES, .rows = rows, .row_count = HT_STACKS + 1,
                             .ticks_per_s = ht_port_ticks_per_s(), .build_id = id, .build_id_bytes = (uint32_t)id_bytes,
                             .stack = stack_of, .task = task_of};
    state = ht_wire_open(&wire, &config) ? OPEN : CLOSED;
}

void ht_stream_begin(void)
{
    uintptr_t saved = ht_port_lock();
    open_anew();
    ht_port_unlock(saved);
}

void ht_stream_end(void)
{
    uintptr_t saved = ht_port_lock();
    if (state == OPEN) {
        ht_wire_end(&wire);
        state = ENDING;
    }
    ht_port_unlock(saved);
}

void ht_stream_repeat(void)
{
    uintptr_t saved = ht_port_lock();
    ht_wire_repeat(&wire);
    ht_port_unlock(saved);
}

bool ht_stream_numbers(uint32_t *events, uint32_t *dropped)
{
    uintptr_t saved = ht_port_lock();
    bool on = state == OPEN;
    *events = wire.events;
    *dropped = wire.dropped;
    ht_port_unlock(saved);
    return on;
}

size_t ht_stream_take(uint8_t frame[HT_WIRE_FRAME_BYTES], bool flush)
{
    size_t picked = 0;
    uintptr_t saved = ht_port_lock();
    if (state != CLOSED) {
        picked = ht_wire_pick(&wire, frame);
        if (picked == 0 && flush) {
            ht_wire_flush(&wire);
            picked = ht_wire_pick(&wire, frame);
        }
    }
    ht_port_unlock(saved);
    return picked == 0 ? 0 : ht_wire_seal(frame, picked);
}

void ht_stream_mark(uint8_t kind, uint32_t number)
{
    uintptr_t saved = ht_port_lock();
    if (state == OPEN) {
        ht_wire_mark(&wire, kind, number, ht_port_ticks());
    }
    ht_port_unlock(saved);
}

void ht_tap(unsigned kind, uintptr_t address, size_t size, uint32_t age, uint32_t stack)
{
    if (state == OPEN) {
        struct ht_event event = {.address = address, .value = {[V_STACK] = stack, [V_AGE] = age}};
        event.value[V_SIZE] = size > UINT32_MAX ? UINT32_MAX : (uint32_t)size;
        event.value[V_TASK] = ht_current_thread();
        ht_wire_add(&wire, kind, &event, ht_port_ticks());
    }
}

void ht_tap_reset(void)
{
    if (state == OPEN) {
        open_anew();
    }
    state = state == OPEN ? OPEN : CLOSED; /* the definitions of what still waits are gone */
}

#else
typedef int ht_stream_is_off; /* a translation unit must not be empty */
#endif
