/* Beginning, pausing and ending: the calls of ht_agent.h, "Control". */
#include "ht_store.h"
#include "ht_stream_tap.h"

static void set_mode(unsigned char mode) { atomic_store_explicit(&ht.mode, mode, memory_order_relaxed); }

/* Inside the lock. The generation outlives it, so that a cursor notices. */
static void reset(void)
{
    uint32_t generation = ht.generation + 1;
    set_mode(HT_OFF);
    memset((char *)&ht + offsetof(struct ht_state, generation), 0, sizeof ht - offsetof(struct ht_state, generation));
    ht.generation = generation;
    ht.site_count = 2; /* "other" and "no stack" */
    ht_tap_reset();
    ht.thread_ids[0] = ~HT_ID_STARTUP - 1u; /* nobody's: a hint of 0 must not find a task that was never seen */
    ht.thread_ids[HT_THREADS] = HT_ID_ISR;
    ht_copy_name(ht.threads[HT_THREADS].name, "(other)");
}

bool ht_start(const char *const names[], size_t names_count)
{
    if (names_count > HT_FILTERS) {
        return false;
    }
    uintptr_t saved = ht_port_lock();
    reset();
    for (size_t i = 0; i < names_count; i++) {
        ht_copy_name(ht.filters[ht.filter_count++], names[i]);
    }
    set_mode(names_count != 0 ? HT_FILTERED : HT_ON);
    ht_port_unlock(saved);
    return true;
}

bool ht_pause(void)
{
    uintptr_t saved = ht_port_lock();
    bool records = ht_mode() == HT_ON || ht_mode() == HT_FILTERED;
    if (records) {
        set_mode(HT_PAUSED);
    }
    ht_port_unlock(saved);
    return records;
}

bool ht_resume(void)
{
    uintptr_t saved = ht_port_lock();
    bool paused = ht_mode() == HT_PAUSED;
    if (paused) {
        set_mode(ht.filter_count != 0 ? HT_FILTERED : HT_ON);
    }
    ht_port_unlock(saved);
    return paused;
}

void ht_stop(void) { set_mode(HT_OFF); }

void ht_clear(void)
{
    uintptr_t saved = ht_port_lock();
    reset();
    ht_port_unlock(saved);
}
