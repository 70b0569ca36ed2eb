/* Reading: each call copies one thing out under the lock. Frames are stored as return addresses and shown as calls. */
#include "ht_store.h"

static void add(uint32_t *sum, uint32_t value) { *sum = *sum > UINT32_MAX - value ? UINT32_MAX : *sum + value; }

static uint32_t allocs_of(const struct ht_site_row *site)
{
    uint32_t gone = site->gone & ~HT_WRAPPED;
    uint32_t sum = site->gone != gone || gone == ~HT_WRAPPED ? UINT32_MAX : site->recorded;
    add(&sum, gone);
    add(&sum, site->unrecorded);
    return sum;
}

static uint32_t frees_of(const struct ht_site_row *site, uint32_t live)
{
    uint32_t frees = site->recorded - live; /* wraps as `recorded` does, `live` blocks later */
    return (site->gone & HT_WRAPPED) != 0 && frees <= site->recorded ? UINT32_MAX : frees;
}

/* One pass over the records. */
static void sum_up(ht_site *out, uint32_t number)
{
    out->live = out->live_bytes = 0;
    for (uint32_t slot = 0; slot < HT_SLOTS; slot++) {
        const struct ht_record *record = &ht.records[slot];
        if (record->address != 0 && record->site == number) {
            out->live++;
            out->live_bytes += record->requested;
        }
    }
}

void ht_get_totals(ht_totals *out)
{
    uintptr_t saved = ht_port_lock();
    unsigned mode = ht_mode();
    *out = (ht_totals){
        .on = mode != HT_OFF,
        .paused = mode == HT_PAUSED,
        .live = ht.live,
        .capacity = HT_RECORDS,
        .sites = ht.site_count > 2 ? ht.site_count - 2 : 0,
        .site_capacity = HT_SITES - 2,
        .stacks = ht.stack_count,
        .stack_capacity = HT_STACKS,
        .stacks_dropped = ht.stacks_dropped,
        .free_stacks_dropped = ht.free_stacks_dropped,
        .unknown_frees = ht.unknown_frees,
        .missed_frees = ht.missed_frees,
        .while_paused = ht.while_paused,
        .double_frees = ht.double_frees,
        .null_frees = ht.null_frees,
        .filters = ht.filter_count,
    };
    for (uint32_t i = 0; i < ht.site_count; i++) {
        add(&out->allocs, allocs_of(&ht.sites[i]));
        add(&out->frees, frees_of(&ht.sites[i], 0));
        add(&out->failed, ht.sites[i].failed);
        add(&out->unrecorded, ht.sites[i].unrecorded);
    }
    out->frees -= out->frees == UINT32_MAX ? 0 : ht.live;
    ht_port_unlock(saved);
}

bool ht_get_filter(size_t i, char name[HT_NAME_BYTES])
{
    uintptr_t saved = ht_port_lock();
    bool found = i < ht.filter_count;
    if (found) {
        memcpy(name, ht.filters[i], HT_NAME_BYTES);
    }
    ht_port_unlock(saved);
    return found;
}

bool ht_get_thread(uint32_t number, uint32_t *id, char name[HT_NAME_BYTES])
{
    uintptr_t saved = ht_port_lock();
    bool found = number < ht.thread_count || (number == HT_THREADS && ht.thread_count == HT_THREADS);
    if (found) {
        *id = ht.thread_ids[number];
        memcpy(name, ht.threads[number].name, HT_NAME_BYTES);
    }
    ht_port_unlock(saved);
    return found;
}

static void begin(ht_cursor *cursor)
{
    if (!cursor->begun) {
        *cursor = (ht_cursor){.generation = ht.generation, .newest = ht.born, .begun = true, .first = true};
    }
}

void ht_begin_blocks(ht_cursor *cursor)
{
    uintptr_t saved = ht_port_lock();
    cursor->begun = false;
    begin(cursor);
    ht_port_unlock(saved);
}

static void copy_block(ht_block *out, const struct ht_record *record)
{
    *out = (ht_block){
        .address = record->address,
        .requested_bytes = record->requested,
        .overhead_bytes = record->overhead,
        .sequence = record->birth,
        .age = ht.born - record->birth,
        .site = record->site,
        .stack = ht.sites[record->site].stack,
        .thread_number = record->thread,
        .thread_id = ht.thread_ids[record->thread],
    };
    memcpy(out->thread, ht.threads[record->thread].name, HT_NAME_BYTES);
}

bool ht_next_block(ht_cursor *cursor, ht_block *out)
{
    uintptr_t saved = ht_port_lock();
    begin(cursor);
    /* Births wrap, ages do not: the next block is the one with the least age beyond the last one's. */
    uint32_t born_since = ht.born - cursor->newest;
    const struct ht_record *best = NULL;
    uint32_t best_age = 0;
    for (uint32_t slot = 0; slot < HT_SLOTS && cursor->generation == ht.generation; slot++) {
        const struct ht_record *record = &ht.records[slot];
        uint32_t age = cursor->newest - record->birth;
        bool too_young = record->birth - cursor->newest - 1u < born_since;
        if (record->address != 0 && !too_young && (cursor->first || age > cursor->last_age) &&
            (best == NULL || age < best_age)) {
            best = record;
            best_age = age;
        }
    }
    if (best != NULL) {
        cursor->first = false;
        cursor->last_age = best_age;
        copy_block(out, best);
    }
    ht_port_unlock(saved);
    return best != NULL;
}

/* Stepping back reads the code before a return address; outside the lock, for it need not be quick. */
static void show(ht_stack_copy *stack)
{
    for (uint32_t i = 0; i < stack->depth; i++) {
        stack->frames[i] = HT_SHOWN_ADDRESS(stack->frames[i]);
    }
}

static void copy_stack(ht_stack_copy *out, uint32_t number)
{
    const struct ht_stack *stack = &ht.stacks[number];
    out->number = number;
    out->depth = number == 0 ? 0 : stack->depth;
    memcpy(out->frames, &ht.frames[stack->first_frame], out->depth * sizeof out->frames[0]);
}

bool ht_get_site(uint32_t index, ht_site *out)
{
    uintptr_t saved = ht_port_lock();
    bool found = index < ht.site_count;
    if (found) {
        const struct ht_site_row *site = &ht.sites[index];
        sum_up(out, index);
        out->allocs = allocs_of(site);
        out->frees = frees_of(site, out->live);
        out->failed = site->failed;
        out->unrecorded = site->unrecorded;
        out->first_birth = site->first_birth;
        out->last_birth = site->last_birth;
        out->oldest_death = site->oldest_death;
        out->freed_by = site->freed_by;
        copy_stack(&out->stack, site->stack);
    }
    ht_port_unlock(saved);
    if (found) {
        show(&out->stack);
    }
    return found;
}

bool ht_get_stack(uint32_t number, ht_stack_copy *out)
{
    uintptr_t saved = ht_port_lock();
    bool found = number != 0 && number <= ht.stack_count;
    if (found) {
        copy_stack(out, number);
    }
    ht_port_unlock(saved);
    if (found) {
        show(out);
    }
    return found;
}

bool ht_get_report(size_t i, ht_report *out)
{
    uintptr_t saved = ht_port_lock();
    bool found = i < ht.misuse_count;
    if (found) {
        const struct ht_misuse_row *row = &ht.misuses[i];
        *out = (ht_report){
            .kind = row->kind, .count = row->count, .stack = row->stack, .before = row->before, .address = row->address};
        memcpy(out->thread, ht.threads[row->thread].name, HT_NAME_BYTES);
    }
    ht_port_unlock(saved);
    return found;
}
