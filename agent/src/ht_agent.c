/* The tracer's store and hooks. The contract is in ht_agent.h; here are only the surprises.
 *
 * Records: one array, an open hash by block address with linear probing. A removal shifts its followers back, so there
 * are no tombstones and a long run never slows down. Sites: an array that only grows, found by a hash of the frames in
 * `index`. Both hashes always keep an empty slot, so every probe ends.
 */
#include "ht_agent.h"

#include <stdatomic.h>
#include <string.h>

#include "ht_port.h"

#define SLOTS (HT_RECORDS + HT_RECORDS / 8 + 1)
#define INDEX_SLOTS (2 * HT_SITES)
#define NO_SLOT 0xffffffffu
#define OVERHEAD_UNKNOWN 255u
#define DEPTH_ROOM (HT_DEPTH > 0 ? HT_DEPTH : 1)

struct record {
    uintptr_t address; /* 0: empty */
    uint32_t requested;
    uint32_t birth;
    uint16_t site;
    uint8_t thread;
    uint8_t overhead;
};
_Static_assert(sizeof(struct record) <= 8 + 2 * sizeof(uintptr_t), "a record is 16 bytes on 32-bit, 24 on 64-bit");

struct site {
    uint32_t hash, first_frame;
    uint32_t live, live_bytes, allocs, frees, failed, unrecorded;
    uint32_t first_birth, last_birth, oldest_death;
    uint8_t depth;
};

struct thread {
    uint32_t id;
    bool wanted;
    char name[HT_NAME_BYTES];
};

struct report {
    ht_misuse kind;
    uint32_t count;
    uintptr_t address;
    uint16_t site;
    uint8_t thread;
};

static struct {
    atomic_bool on;
    uint32_t generation; /* of the tables: a cursor from before a clear is told */
    uint32_t born;       /* the last birth given */
    uint32_t allocs, frees, live, unrecorded, stacks_dropped, unknown_frees, missed_frees, failed, double_frees, null_frees;
    uint32_t site_count, frame_count, thread_count, report_count, filter_count;
    struct record records[SLOTS];
    struct site sites[HT_SITES];
    uint16_t index[INDEX_SLOTS]; /* site number, 0 is empty: "other" is never looked up */
    uintptr_t frames[HT_FRAMES > 0 ? HT_FRAMES : 1];
    struct thread threads[HT_THREADS + 1]; /* the last one is "(other)" */
    struct report reports[HT_REPORTS];
    char filters[HT_FILTERS][HT_NAME_BYTES];
#if HT_CHECK_DOUBLE_FREE
    uintptr_t freed[HT_FREED];
#endif
} ht;

static void count(uint32_t *counter)
{
    if (*counter != UINT32_MAX) {
        ++*counter;
    }
}

static uint32_t clip(size_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes; }

/* -- Records --------------------------------------------------------------------------------------------------- */

static uint32_t address_hash(uintptr_t address)
{
    /* Allocators align to 8 at least: the low bits say nothing. The high half matters where heaps are far apart. */
    uint64_t wide = (uint64_t)address >> 3;
    return (uint32_t)(wide ^ (wide >> 32)) * 2654435769u;
}

static uint32_t home_of(uintptr_t address) { return (uint32_t)(((uint64_t)address_hash(address) * SLOTS) >> 32); }

static uint32_t next_slot(uint32_t slot) { return slot + 1 == SLOTS ? 0 : slot + 1; }

static uint32_t distance(uint32_t from, uint32_t to) { return to >= from ? to - from : to + SLOTS - from; }

static uint32_t find_record(uintptr_t address)
{
    for (uint32_t slot = home_of(address); ht.records[slot].address != 0; slot = next_slot(slot)) {
        if (ht.records[slot].address == address) {
            return slot;
        }
    }
    return NO_SLOT;
}

static void remove_record(uint32_t hole)
{
    for (uint32_t slot = next_slot(hole); ht.records[slot].address != 0; slot = next_slot(slot)) {
        uint32_t home = home_of(ht.records[slot].address);
        if (distance(home, slot) >= distance(hole, slot)) {
            ht.records[hole] = ht.records[slot];
            hole = slot;
        }
    }
    ht.records[hole].address = 0;
    --ht.live;
}

/* False if the pool is full. The address must not be there yet. */
static bool add_record(const struct record *record)
{
    if (ht.live == HT_RECORDS) {
        return false;
    }
    uint32_t slot = home_of(record->address);
    while (ht.records[slot].address != 0) {
        slot = next_slot(slot);
    }
    ht.records[slot] = *record;
    ++ht.live;
    return true;
}

/* -- Sites ----------------------------------------------------------------------------------------------------- */

static uint32_t stack_hash(const uintptr_t *pcs, size_t depth)
{
    uint32_t hash = (uint32_t)depth;
    for (size_t i = 0; i < depth; i++) {
        uint64_t wide = pcs[i];
        hash = (((hash << 5) | (hash >> 27)) ^ (uint32_t)(wide ^ (wide >> 32))) * 2654435769u;
    }
    return hash;
}

static uint32_t site_of(const uintptr_t *pcs, size_t depth)
{
    if (depth == 0) {
        return HT_SITE_NO_STACK;
    }
    uint32_t hash = stack_hash(pcs, depth);
    uint32_t slot = (uint32_t)(((uint64_t)hash * INDEX_SLOTS) >> 32);
    while (ht.index[slot] != 0) {
        const struct site *site = &ht.sites[ht.index[slot]];
        if (site->hash == hash && site->depth == depth &&
            memcmp(&ht.frames[site->first_frame], pcs, depth * sizeof pcs[0]) == 0) {
            return ht.index[slot];
        }
        slot = slot + 1 == INDEX_SLOTS ? 0 : slot + 1;
    }
    if (ht.site_count == HT_SITES || depth > HT_FRAMES - ht.frame_count) {
        count(&ht.stacks_dropped);
        return HT_SITE_OTHER;
    }
    uint32_t number = ht.site_count++;
    ht.sites[number] = (struct site){.hash = hash, .first_frame = ht.frame_count, .depth = (uint8_t)depth};
    memcpy(&ht.frames[ht.frame_count], pcs, depth * sizeof pcs[0]);
    ht.frame_count += (uint32_t)depth;
    ht.index[slot] = (uint16_t)number;
    return number;
}

/* -- Threads --------------------------------------------------------------------------------------------------- */

static void copy_name(char to[HT_NAME_BYTES], const char *from)
{
    size_t i = 0;
    for (; from != NULL && from[i] != 0 && i < HT_NAME_BYTES - 1; i++) {
        to[i] = from[i];
    }
    memset(to + i, 0, HT_NAME_BYTES - i);
}

static bool name_wanted(const char *name)
{
    for (uint32_t i = 0; i < ht.filter_count; i++) {
        if (strncmp(ht.filters[i], name, HT_NAME_BYTES) == 0) {
            return true;
        }
    }
    return ht.filter_count == 0;
}

/* The running task's place in the table, and through `wanted` whether the filter lets it pass. */
static uint8_t current_thread(bool *wanted)
{
    uint32_t id = ht_port_thread_id();
    for (uint32_t i = 0; i < ht.thread_count; i++) {
        if (ht.threads[i].id == id) {
            *wanted = ht.threads[i].wanted;
            return (uint8_t)i;
        }
    }
    char name[HT_NAME_BYTES];
    const char *given = ht_port_thread_name();
    copy_name(name, id == HT_ID_ISR ? "ISR" : id == HT_ID_STARTUP ? "(start-up)" : given != NULL ? given : "(null)");
    *wanted = name_wanted(name);
    if (ht.thread_count == HT_THREADS) {
        return HT_THREADS;
    }
    struct thread *thread = &ht.threads[ht.thread_count];
    thread->id = id;
    thread->wanted = *wanted;
    memcpy(thread->name, name, sizeof name);
    return (uint8_t)ht.thread_count++;
}

/* -- Misuse ---------------------------------------------------------------------------------------------------- */

#if HT_CHECK_DOUBLE_FREE
/* One slot an address may be in: O(1), and a later free in the same slot only makes us forget, never accuse.
 * The hash's high half: a product's low bits know only the address's low bits, which are alike. */
static uint32_t freed_slot(uintptr_t address) { return (address_hash(address) >> 16) & (HT_FREED - 1); }
#endif

static void remember_freed(uintptr_t address)
{
#if HT_CHECK_DOUBLE_FREE
    ht.freed[freed_slot(address)] = address;
#else
    (void)address;
#endif
}

static bool was_freed(uintptr_t address)
{
#if HT_CHECK_DOUBLE_FREE
    return ht.freed[freed_slot(address)] == address;
#else
    (void)address;
    return false;
#endif
}

/* The address is in use again: whoever frees it now is right to do so. */
static void forget_freed(uintptr_t address)
{
#if HT_CHECK_DOUBLE_FREE
    uintptr_t *slot = &ht.freed[freed_slot(address)];
    if (*slot == address) {
        *slot = 0;
    }
#else
    (void)address;
#endif
}

static void report_misuse(ht_misuse kind, uintptr_t address, const uintptr_t *pcs, size_t depth)
{
    bool wanted;
    uint8_t thread = current_thread(&wanted);
    uint16_t site = (uint16_t)site_of(pcs, depth);
    count(kind == HT_DOUBLE_FREE ? &ht.double_frees : &ht.null_frees);
    for (uint32_t i = 0; i < ht.report_count; i++) {
        if (ht.reports[i].kind == kind && ht.reports[i].site == site) {
            count(&ht.reports[i].count);
            return;
        }
    }
    if (ht.report_count < HT_REPORTS) {
        ht.reports[ht.report_count++] =
            (struct report){.kind = kind, .count = 1, .address = address, .site = site, .thread = thread};
    }
}

/* -- Hooks ----------------------------------------------------------------------------------------------------- */

static bool tracing(void) { return atomic_load_explicit(&ht.on, memory_order_relaxed); }

static uint8_t overhead_of(size_t requested, size_t block_bytes)
{
    bool known = block_bytes >= requested && block_bytes - requested < OVERHEAD_UNKNOWN;
    return (uint8_t)(known && block_bytes != 0 ? block_bytes - requested : OVERHEAD_UNKNOWN);
}

/* The address was handed out again, so a block that we hold there was freed behind our back. */
static void drop_stale(uintptr_t address)
{
    uint32_t slot = find_record(address);
    forget_freed(address);
    if (slot != NO_SLOT) {
        struct site *site = &ht.sites[ht.records[slot].site];
        --site->live;
        site->live_bytes -= ht.records[slot].requested;
        count(&ht.missed_frees);
        remove_record(slot);
    }
}

static void record_malloc(uintptr_t address, size_t requested, size_t block_bytes, const uintptr_t *pcs, size_t depth)
{
    bool wanted;
    struct record record = {
        .address = address,
        .requested = clip(requested),
        .thread = current_thread(&wanted),
        .overhead = overhead_of(requested, block_bytes),
    };
    if (address != 0) {
        drop_stale(address);
    }
    if (!wanted) {
        return;
    }
    record.site = (uint16_t)site_of(pcs, depth);
    struct site *site = &ht.sites[record.site];
    if (address == 0) {
        count(&site->failed);
        count(&ht.failed);
        return;
    }
    record.birth = ++ht.born;
    count(&ht.allocs);
    site->first_birth = site->allocs == 0 ? record.birth : site->first_birth;
    site->last_birth = record.birth;
    count(&site->allocs);
    if (add_record(&record)) {
        ++site->live;
        site->live_bytes += record.requested;
    } else {
        count(&site->unrecorded);
        count(&ht.unrecorded);
    }
}

/* True if the block is known or unknown in an honest way; false if it is freed a second time. */
static bool record_free(uintptr_t address)
{
    uint32_t slot = find_record(address);
    if (slot == NO_SLOT) {
        if (was_freed(address)) {
            return false;
        }
        count(&ht.unknown_frees);
        return true;
    }
    struct site *site = &ht.sites[ht.records[slot].site];
    uint32_t age = ht.born - ht.records[slot].birth;
    site->oldest_death = age > site->oldest_death ? age : site->oldest_death;
    --site->live;
    site->live_bytes -= ht.records[slot].requested;
    count(&site->frees);
    count(&ht.frees);
    remove_record(slot);
    remember_freed(address);
    return true;
}

#define CAPTURE(pcs) \
    ht_port_backtrace((pcs), HT_DEPTH, __builtin_frame_address(0), (uintptr_t)__builtin_return_address(0))

/* The hooks themselves must be real frames: CAPTURE begins at their caller. */
#define HOOK __attribute__((noinline))

HOOK void ht_on_malloc(void *block, size_t requested, size_t block_bytes)
{
    if (!tracing()) {
        return;
    }
    uintptr_t pcs[DEPTH_ROOM];
    size_t depth = CAPTURE(pcs);
    uintptr_t saved = ht_port_lock();
    if (tracing()) {
        record_malloc((uintptr_t)block, requested, block_bytes, pcs, depth);
    }
    ht_port_unlock(saved);
}

HOOK void ht_on_free(void *block)
{
    if (!tracing() || (block == NULL && !HT_CHECK_FREE_NULL)) {
        return;
    }
    if (block != NULL) {
        uintptr_t saved = ht_port_lock();
        bool honest = !tracing() || record_free((uintptr_t)block);
        ht_port_unlock(saved);
        if (honest) {
            return;
        }
    }
    uintptr_t pcs[DEPTH_ROOM];
    size_t depth = CAPTURE(pcs);
    uintptr_t saved = ht_port_lock();
    if (tracing()) {
        report_misuse(block == NULL ? HT_FREE_NULL : HT_DOUBLE_FREE, (uintptr_t)block, pcs, depth);
    }
    ht_port_unlock(saved);
}

HOOK void ht_on_realloc(void *block, void *moved, size_t requested, size_t block_bytes)
{
    if (!tracing()) {
        return;
    }
    uintptr_t pcs[DEPTH_ROOM];
    size_t depth = CAPTURE(pcs);
    uintptr_t saved = ht_port_lock();
    uint32_t slot = block != NULL && tracing() ? find_record((uintptr_t)block) : NO_SLOT;
    if (slot != NO_SLOT && moved != NULL) {
        struct record record = ht.records[slot];
        struct site *site = &ht.sites[record.site];
        remove_record(slot);
        if (moved != block) {
            remember_freed((uintptr_t)block);
            drop_stale((uintptr_t)moved);
        }
        site->live_bytes += clip(requested) - record.requested;
        record.address = (uintptr_t)moved;
        record.requested = clip(requested);
        record.overhead = overhead_of(requested, block_bytes);
        (void)add_record(&record); /* its own place became free just now */
    } else if (tracing()) {
        /* Its own block, or one from before tracking that is at this size since now, or a failure. */
        record_malloc((uintptr_t)moved, requested, block_bytes, pcs, depth);
    }
    ht_port_unlock(saved);
}

/* -- Control --------------------------------------------------------------------------------------------------- */

/* Inside the lock. The generation outlives it, so that a cursor notices. */
static void reset(void)
{
    uint32_t generation = ht.generation + 1;
    atomic_store_explicit(&ht.on, false, memory_order_relaxed);
    memset((char *)&ht + offsetof(__typeof__(ht), generation), 0, sizeof ht - offsetof(__typeof__(ht), generation));
    ht.generation = generation;
    ht.site_count = 2; /* "other" and "no stack" */
    ht.threads[HT_THREADS].id = HT_ID_ISR;
    copy_name(ht.threads[HT_THREADS].name, "(other)");
}

bool ht_start(const char *const names[], size_t names_count)
{
    if (names_count > HT_FILTERS) {
        return false;
    }
    uintptr_t saved = ht_port_lock();
    reset();
    for (size_t i = 0; i < names_count; i++) {
        copy_name(ht.filters[ht.filter_count++], names[i]);
    }
    atomic_store_explicit(&ht.on, true, memory_order_relaxed);
    ht_port_unlock(saved);
    return true;
}

void ht_stop(void) { atomic_store_explicit(&ht.on, false, memory_order_relaxed); }

void ht_clear(void)
{
    uintptr_t saved = ht_port_lock();
    reset();
    ht_port_unlock(saved);
}

/* -- Reading --------------------------------------------------------------------------------------------------- */

void ht_get_totals(ht_totals *out)
{
    uintptr_t saved = ht_port_lock();
    *out = (ht_totals){
        .on = tracing(),
        .live = ht.live,
        .capacity = HT_RECORDS,
        .unrecorded = ht.unrecorded,
        .stacks = ht.site_count > 2 ? ht.site_count - 2 : 0,
        .stack_capacity = HT_SITES - 2,
        .stacks_dropped = ht.stacks_dropped,
        .allocs = ht.allocs,
        .frees = ht.frees,
        .unknown_frees = ht.unknown_frees,
        .missed_frees = ht.missed_frees,
        .failed = ht.failed,
        .double_frees = ht.double_frees,
        .null_frees = ht.null_frees,
        .filters = ht.filter_count,
    };
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

static void copy_block(ht_block *out, const struct record *record)
{
    *out = (ht_block){
        .address = record->address,
        .requested_bytes = record->requested,
        .overhead_bytes = record->overhead,
        .age = ht.born - record->birth,
        .site = record->site,
    };
    memcpy(out->thread, ht.threads[record->thread].name, HT_NAME_BYTES);
}

bool ht_next_block(ht_cursor *cursor, ht_block *out)
{
    uintptr_t saved = ht_port_lock();
    if (!cursor->begun) {
        cursor->generation = ht.generation;
        cursor->newest = ht.born;
    }
    /* Births wrap, ages do not: the next block is the one with the least age beyond the last one's. */
    uint32_t born_since = ht.born - cursor->newest;
    const struct record *best = NULL;
    uint32_t best_age = 0;
    for (uint32_t slot = 0; slot < SLOTS && cursor->generation == ht.generation; slot++) {
        const struct record *record = &ht.records[slot];
        uint32_t age = cursor->newest - record->birth;
        bool too_young = record->birth - cursor->newest - 1u < born_since;
        if (record->address != 0 && !too_young && (!cursor->begun || age > cursor->last_age) &&
            (best == NULL || age < best_age)) {
            best = record;
            best_age = age;
        }
    }
    cursor->begun = true;
    if (best != NULL) {
        cursor->last_age = best_age;
        copy_block(out, best);
    }
    ht_port_unlock(saved);
    return best != NULL;
}

bool ht_get_site(uint32_t index, ht_site *out)
{
    uintptr_t saved = ht_port_lock();
    bool found = index < ht.site_count;
    if (found) {
        const struct site *site = &ht.sites[index];
        *out = (ht_site){
            .live = site->live,
            .live_bytes = site->live_bytes,
            .allocs = site->allocs,
            .frees = site->frees,
            .failed = site->failed,
            .unrecorded = site->unrecorded,
            .first_birth = site->first_birth,
            .last_birth = site->last_birth,
            .oldest_death = site->oldest_death,
            .depth = site->depth,
        };
        memcpy(out->frames, &ht.frames[site->first_frame], site->depth * sizeof out->frames[0]);
    }
    ht_port_unlock(saved);
    return found;
}

bool ht_get_report(size_t i, ht_report *out)
{
    uintptr_t saved = ht_port_lock();
    bool found = i < ht.report_count;
    if (found) {
        const struct report *report = &ht.reports[i];
        *out = (ht_report){
            .kind = report->kind, .count = report->count, .site = report->site, .address = report->address};
        memcpy(out->thread, ht.threads[report->thread].name, HT_NAME_BYTES);
    }
    ht_port_unlock(saved);
    return found;
}
