/* The hooks and the control calls. The contract is in ht_agent.h; here are only the surprises.
 *
 * A free's own stack costs as much as an allocation's, so it is taken only when the free looks different from the last
 * one of that site: another caller of the allocator, or another depth of the stack (which tells tasks apart, too).
 */
#include "ht_store.h"

struct ht_state ht;

static uint32_t clip(size_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes; }

/* -- Misuse ---------------------------------------------------------------------------------------------------- */

#if HT_CHECK_DOUBLE_FREE
/* One slot an address may be in: O(1), and a later free in the same slot only makes us forget, never accuse.
 * The hash's high half: a product's low bits know only the address's low bits, which are alike. */
static struct ht_freed *freed_slot(uint32_t hash) { return &ht.freed[(hash >> 16) & (HT_FREED - 1)]; }
#endif

static void remember_freed(uintptr_t address, uint32_t hash, uint32_t stack)
{
#if HT_CHECK_DOUBLE_FREE
    struct ht_freed *slot = freed_slot(hash);
    slot->address = address;
    slot->stack = (uint16_t)stack;
#else
    (void)address, (void)hash, (void)stack;
#endif
}

static bool was_freed(uintptr_t address, uint32_t hash)
{
#if HT_CHECK_DOUBLE_FREE
    return freed_slot(hash)->address == address;
#else
    (void)address, (void)hash;
    return false;
#endif
}

/* The address is in use again: whoever frees it now is right to do so. */
static void forget_freed(uintptr_t address, uint32_t hash)
{
#if HT_CHECK_DOUBLE_FREE
    if (was_freed(address, hash)) {
        freed_slot(hash)->address = 0;
    }
#else
    (void)address, (void)hash;
#endif
}

static void report_misuse(ht_misuse kind, uintptr_t address, const uintptr_t *pcs, size_t depth)
{
    bool wanted;
    uint8_t thread = ht_current_thread(&wanted);
    uint16_t stack = (uint16_t)ht_intern(pcs, depth);
    uint16_t before = 0;
    ht_count(kind == HT_DOUBLE_FREE ? &ht.double_frees : &ht.null_frees);
    for (uint32_t i = 0; i < ht.misuse_count; i++) {
        if (ht.misuses[i].kind == kind && ht.misuses[i].stack == stack) {
            ht_count(&ht.misuses[i].count);
            return;
        }
    }
#if HT_CHECK_DOUBLE_FREE
    uint32_t hash = ht_hash_address(address);
    before = kind == HT_DOUBLE_FREE && was_freed(address, hash) ? freed_slot(hash)->stack : 0;
#endif
    if (ht.misuse_count < HT_REPORTS) {
        ht.misuses[ht.misuse_count++] = (struct ht_misuse_row){
            .kind = kind, .count = 1, .address = address, .stack = stack, .before = before, .thread = thread};
    }
}

/* -- Allocations ----------------------------------------------------------------------------------------------- */

static uint8_t overhead_of(size_t requested, size_t block_bytes)
{
    size_t over = block_bytes - requested; /* huge where the block is smaller, or unknown and 0 */
    return (uint8_t)(over < HT_OVERHEAD_UNKNOWN && block_bytes != 0 ? over : HT_OVERHEAD_UNKNOWN);
}

/* The address was handed out again, so a block that we hold there was freed behind our back. */
static void drop_stale(uint32_t slot)
{
    struct ht_site_row *site = &ht.sites[ht.records[slot].site];
    --site->live;
    site->live_bytes -= ht.records[slot].requested;
    ht_count(&ht.missed_frees);
    ht_remove(slot);
}

/* Whatever we thought of this address is over: another block is there now. The slot where it belongs. */
static uint32_t vacate(uintptr_t address)
{
    bool found;
    uint32_t hash = ht_hash_address(address);
    uint32_t slot = ht_seek(address, hash, &found);
    forget_freed(address, hash);
    if (found) {
        drop_stale(slot);
        slot = ht_seek(address, hash, &found);
    }
    return slot;
}

static void record_malloc(uintptr_t address, size_t requested, size_t block_bytes, const uintptr_t *pcs, size_t depth)
{
    bool wanted;
    uint8_t thread = ht_current_thread(&wanted);
    uint32_t slot = address != 0 ? vacate(address) : 0;
    if (!wanted) {
        return;
    }
    uint32_t number = ht_site_of(pcs, depth);
    struct ht_site_row *site = &ht.sites[number];
    if (address == 0) {
        ht_count(&site->failed);
        ht_count(&ht.failed);
        return;
    }
    struct ht_record record = {
        .address = address,
        .requested = clip(requested),
        .birth = ++ht.born,
        .site = (uint16_t)number,
        .thread = thread,
        .overhead = overhead_of(requested, block_bytes),
    };
    ht_count(&ht.allocs);
    if (site->allocs == 0) {
        site->first_birth = record.birth;
    }
    site->last_birth = record.birth;
    ht_count(&site->allocs);
    if (ht_insert(slot, &record)) {
        ++site->live;
        site->live_bytes += record.requested;
    } else {
        ht_count(&site->unrecorded);
        ht_count(&ht.unrecorded);
    }
}

/* With a filter in force, or on pause, most allocations need no stack. */
static bool stack_needed(void)
{
    if (ht_mode() == HT_PAUSED) {
        return false;
    }
    if (!atomic_load_explicit(&ht.filtered, memory_order_relaxed)) {
        return true;
    }
    bool wanted;
    uintptr_t saved = ht_port_lock();
    (void)ht_current_thread(&wanted);
    ht_port_unlock(saved);
    return wanted;
}

#define CAPTURE(pcs) \
    ht_port_backtrace((pcs), HT_DEPTH, __builtin_frame_address(0), (uintptr_t)__builtin_return_address(0))

/* The hooks themselves must be real frames, not leaves: CAPTURE begins at their caller. */
#define HOOK __attribute__((noinline))

HOOK void ht_on_malloc(void *block, size_t requested, size_t block_bytes)
{
    if (ht_mode() == HT_OFF) {
        return;
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    size_t depth = stack_needed() ? CAPTURE(pcs) : 0;
    uintptr_t saved = ht_port_lock();
    unsigned mode = ht_mode();
    if (mode == HT_ON) {
        record_malloc((uintptr_t)block, requested, block_bytes, pcs, depth);
    } else if (mode == HT_PAUSED && block != NULL) {
        (void)vacate((uintptr_t)block);
        ht_count(&ht.while_paused);
    }
    ht_port_unlock(saved);
}

HOOK void ht_on_realloc(void *block, void *moved, size_t requested, size_t block_bytes)
{
    if (ht_mode() == HT_OFF) {
        return;
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    size_t depth = stack_needed() ? CAPTURE(pcs) : 0;
    uintptr_t saved = ht_port_lock();
    unsigned mode = ht_mode();
    uint32_t old_hash = ht_hash_address((uintptr_t)block);
    bool known = false;
    uint32_t slot = 0;
    if (block != NULL && mode != HT_OFF) {
        slot = ht_seek((uintptr_t)block, old_hash, &known);
    }
    if (known && moved != NULL) {
        struct ht_record record = ht.records[slot];
        struct ht_site_row *site = &ht.sites[record.site];
        ht_remove(slot);
        if (moved != block) {
            remember_freed((uintptr_t)block, old_hash, 0);
        }
        site->live_bytes += clip(requested) - record.requested;
        record.address = (uintptr_t)moved;
        record.requested = clip(requested);
        record.overhead = overhead_of(requested, block_bytes);
        (void)ht_insert(vacate((uintptr_t)moved), &record); /* its own place became free just now */
    } else if (mode == HT_ON) {
        /* Its own block, or one from before tracking that is at this size since now, or a failure. */
        record_malloc((uintptr_t)moved, requested, block_bytes, pcs, depth);
    }
    ht_port_unlock(saved);
}

/* -- Frees ----------------------------------------------------------------------------------------------------- */

enum freeing { FREED, FREED_ANEW, MISUSED };

/* FREED_ANEW: done, but whoever freed is new to this site, and `site` wants the stack. */
static enum freeing record_free(uintptr_t address, uint32_t hash, uint32_t key, uint32_t *number)
{
    bool found;
    uint32_t slot = ht_seek(address, hash, &found);
    if (!found) {
        if (was_freed(address, hash)) {
            return MISUSED;
        }
        ht_count(&ht.unknown_frees);
        return FREED;
    }
    const struct ht_record *record = &ht.records[slot];
    struct ht_site_row *site = &ht.sites[record->site];
    *number = record->site;
    uint32_t age = ht.born - record->birth;
    if (age > site->oldest_death) {
        site->oldest_death = age;
    }
    --site->live;
    site->live_bytes -= record->requested;
    ht_count(&site->frees);
    ht_count(&ht.frees);
    ht_remove(slot);
    bool alike = !HT_FREE_STACKS || site->free_key == key;
    remember_freed(address, hash, alike ? site->freed_by : 0);
    return alike ? FREED : FREED_ANEW;
}

static void note_freer(uintptr_t address, uint32_t hash, uint32_t key, uint32_t number, const uintptr_t *pcs, size_t depth)
{
    uint32_t stack = ht_intern(pcs, depth);
    if (stack == 0 && depth != 0) {
        ht_count(&ht.free_stacks_dropped);
    }
    ht.sites[number].freed_by = (uint16_t)stack;
    ht.sites[number].free_key = key;
#if HT_CHECK_DOUBLE_FREE
    if (was_freed(address, hash)) {
        freed_slot(hash)->stack = (uint16_t)stack;
    }
#else
    (void)address, (void)hash;
#endif
}

HOOK void ht_on_free_by(void *block, const void *caller)
{
    if (ht_mode() == HT_OFF || (block == NULL && !HT_CHECK_FREE_NULL)) {
        return;
    }
    /* Never 0, which stands for a site that nothing was freed of yet. */
    uint32_t key = ((uint32_t)(uintptr_t)caller * 2654435769u + (uint32_t)(uintptr_t)__builtin_frame_address(0)) | 1u;
    uint32_t hash = ht_hash_address((uintptr_t)block);
    uint32_t number = 0;
    uint32_t generation = 0;
    enum freeing how = MISUSED;
    if (block != NULL) {
        uintptr_t saved = ht_port_lock();
        generation = ht.generation;
        how = ht_mode() == HT_OFF ? FREED : record_free((uintptr_t)block, hash, key, &number);
        ht_port_unlock(saved);
        if (how == FREED) {
            return;
        }
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    size_t depth = CAPTURE(pcs);
    uintptr_t saved = ht_port_lock();
    if (how == MISUSED && ht_mode() != HT_OFF) {
        report_misuse(block == NULL ? HT_FREE_NULL : HT_DOUBLE_FREE, (uintptr_t)block, pcs, depth);
    } else if (how == FREED_ANEW && generation == ht.generation) {
        note_freer((uintptr_t)block, hash, key, number, pcs, depth);
    }
    ht_port_unlock(saved);
}

/* -- Control --------------------------------------------------------------------------------------------------- */

static void set_mode(unsigned char mode) { atomic_store_explicit(&ht.mode, mode, memory_order_relaxed); }

/* Inside the lock. The generation outlives it, so that a cursor notices. */
static void reset(void)
{
    uint32_t generation = ht.generation + 1;
    set_mode(HT_OFF);
    atomic_store_explicit(&ht.filtered, false, memory_order_relaxed);
    memset((char *)&ht + offsetof(struct ht_state, generation), 0, sizeof ht - offsetof(struct ht_state, generation));
    ht.generation = generation;
    ht.site_count = 2; /* "other" and "no stack" */
    ht.threads[HT_THREADS].id = HT_ID_ISR;
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
    atomic_store_explicit(&ht.filtered, names_count != 0, memory_order_relaxed);
    set_mode(HT_ON);
    ht_port_unlock(saved);
    return true;
}

static bool change_mode(unsigned from, unsigned char to)
{
    uintptr_t saved = ht_port_lock();
    bool changes = ht_mode() == from;
    if (changes) {
        set_mode(to);
    }
    ht_port_unlock(saved);
    return changes;
}

bool ht_pause(void) { return change_mode(HT_ON, HT_PAUSED); }

bool ht_resume(void) { return change_mode(HT_PAUSED, HT_ON); }

void ht_stop(void) { set_mode(HT_OFF); }

void ht_clear(void)
{
    uintptr_t saved = ht_port_lock();
    reset();
    ht_port_unlock(saved);
}
