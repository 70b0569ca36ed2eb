/* The hooks. The contract is in ht_agent.h; here are only the surprises.
 *
 * A free's own stack costs as much as an allocation's, so it is taken only when the free looks different from the last
 * one of that site: another caller of the allocator, or another depth of the stack (which tells tasks apart, too).
 */
#include "ht_store.h"
#include "ht_stream_tap.h"

struct ht_state ht;

static uint32_t clip(size_t bytes) { return bytes > UINT32_MAX ? UINT32_MAX : (uint32_t)bytes; }

/* -- Allocations ----------------------------------------------------------------------------------------------- */

static uint8_t overhead_of(size_t requested, size_t block_bytes)
{
    size_t over = block_bytes - requested; /* huge where the block is smaller, or unknown and 0 */
    return (uint8_t)(over < HT_OVERHEAD_UNKNOWN && block_bytes != 0 ? over : HT_OVERHEAD_UNKNOWN);
}

/* The address was handed out again, so a block that we hold there was freed behind our back. */
static struct ht_record *drop_stale(struct ht_record *record, uintptr_t hash)
{
    uintptr_t address = record->address;
    struct ht_site_row *site = &ht.sites[record->site];
    site->gone += (site->gone & ~HT_WRAPPED) != ~HT_WRAPPED;
    if (site->recorded-- == 0) {
        site->gone &= ~HT_WRAPPED;
    }
    ht_count(&ht.missed_frees);
    ht_remove(record);
    return ht_seek(address, hash);
}

/* Whatever we thought of this address is over: another block is there now. The slot where it belongs. */
static struct ht_record *vacate(uintptr_t address)
{
    uintptr_t hash = ht_hash_address(address);
    struct ht_record *slot = ht_seek(address, hash);
    ht_forget_freed(address, hash);
    return HT_LIKELY(slot->address != address) ? slot : drop_stale(slot, hash);
}

static void note_first(struct ht_site_row *site, uint32_t birth)
{
    if (site->gone == 0 && site->unrecorded == 0) {
        site->first_birth = birth;
    }
}

/* A block that has a record, at a site that is known. */
HT_INLINE void keep_record(struct ht_record *slot, struct ht_site_row *site, uint32_t number, uint32_t thread,
                           uintptr_t address, size_t requested, size_t block_bytes)
{
    uint32_t birth = ++ht.born;
    ht_tap_alloc(address, requested, site->stack);
    site->last_birth = birth;
    ++site->recorded;
    slot->address = address;
    slot->requested = clip(requested);
    slot->birth = birth;
    slot->site = (uint16_t)number;
    slot->thread = (uint8_t)thread;
    slot->overhead = overhead_of(requested, block_bytes);
}

static __attribute__((noinline)) void record_malloc(uintptr_t address, size_t requested, size_t block_bytes,
                                                    const uintptr_t *pcs, size_t depth, const void *frame)
{
    unsigned mode = ht_mode();
    struct ht_record *slot = address != 0 && mode != HT_OFF ? vacate(address) : NULL;
    if (mode == HT_PAUSED && address != 0) {
        ht_count(&ht.while_paused);
    }
    if (mode == HT_OFF || mode == HT_PAUSED) {
        return;
    }
    uint32_t thread = ht_current_thread();
    if (mode == HT_FILTERED && !ht.threads[thread].wanted) {
        return;
    }
    uint32_t number = ht_site_of(pcs, depth, frame);
    struct ht_site_row *site = &ht.sites[number];
    if (address == 0) {
        ht_count(&site->failed);
        ht_tap_failed(requested, site->stack);
        return;
    }
    if (site->recorded == 0) {
        note_first(site, ht.born + 1);
    }
    if (ht.live == HT_RECORDS) {
        site->last_birth = ++ht.born;
        ht_tap_alloc(address, requested, site->stack);
        ht_count(&site->unrecorded);
        return;
    }
    ht_take(slot);
    keep_record(slot, site, number, thread, address, requested, block_bytes);
    if (site->recorded == 0) {
        site->gone |= HT_WRAPPED;
    }
}

/* The usual allocation: a task, a stack and a site that are known, a home slot that is free, nothing that runs full. Looked
 * at in full before anything is changed. */
HT_INLINE bool malloc_quickly(uintptr_t address, size_t requested, size_t block_bytes, const uintptr_t *pcs, size_t depth,
                              const void *frame)
{
    uint32_t id = ht_port_thread_id();
    size_t thread = ht.thread_hints[id & (HT_THREAD_HINTS - 1)];
    uintptr_t hash = ht_hash_address(address);
    struct ht_record *slot = &ht.records[ht_home_of_hash(hash)];
    HT_KEEP(slot);
    const struct ht_stack *stack = &ht.stacks[*ht_stack_hint(pcs, frame)];
    HT_KEEP(stack);
    size_t number = HT_DEPTH == 0 ? HT_SITE_NO_STACK : stack->site; /* 0: one that is not known */
    struct ht_site_row *site = &ht.sites[number];
    HT_KEEP(site);
    if (ht.thread_ids[thread] != id || slot->address != 0 || address == 0 || number == 0 || ht.live == HT_RECORDS ||
        site->recorded + 1u <= 1u || !ht_same_stack(stack, pcs, depth)) {
        return false;
    }
    ht_forget_freed(address, hash);
    ++ht.live;
    keep_record(slot, site, (uint32_t)number, (uint32_t)thread, address, requested, block_bytes);
    return true;
}

/* With a filter in force most allocations need no stack, on pause none does. */
static bool stack_needed(unsigned mode)
{
    uintptr_t saved = ht_port_lock();
    bool wanted = mode == HT_FILTERED && ht.threads[ht_current_thread()].wanted;
    ht_port_unlock(saved);
    return wanted;
}

/* In Thumb code the frame address is the bottom of the frame, where our own locals are; the CFA is its top. */
#if defined(__thumb__)
#define FRAME_OF_HOOK() __builtin_dwarf_cfa()
#else
#define FRAME_OF_HOOK() __builtin_frame_address(0)
#endif
#define CAPTURE(pcs) ht_port_backtrace((pcs), HT_DEPTH, FRAME_OF_HOOK(), (uintptr_t)__builtin_return_address(0))

/* The hooks themselves must be real frames, not leaves: CAPTURE begins at their caller. */
#define HOOK __attribute__((noinline))

HOOK void ht_on_malloc(void *block, size_t requested, size_t block_bytes)
{
    unsigned mode = ht_mode();
    if (mode == HT_OFF) {
        return;
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    pcs[1] = 0;
    size_t depth = mode == HT_ON || stack_needed(mode) ? CAPTURE(pcs) : 0;
    uintptr_t saved = ht_port_lock();
    if (!HT_FAST || !HT_LIKELY(ht_mode() == HT_ON &&
                               malloc_quickly((uintptr_t)block, requested, block_bytes, pcs, depth, FRAME_OF_HOOK()))) {
        record_malloc((uintptr_t)block, requested, block_bytes, pcs, depth, FRAME_OF_HOOK());
    }
    ht_port_unlock(saved);
}

static void move(struct ht_record *old, uintptr_t to, size_t requested, size_t block_bytes)
{
    struct ht_record record = *old;
    ht_remove(old);
    if (to != record.address) {
        ht_remember_freed(record.address, ht_hash_address(record.address), 0);
    }
    record.address = to;
    record.requested = clip(requested);
    record.overhead = overhead_of(requested, block_bytes);
    ht_tap_move(record.birth, to, requested);
    struct ht_record *slot = vacate(to);
    ht_take(slot); /* its own place became free just now */
    *slot = record;
}

HOOK void ht_on_realloc(void *block, void *moved, size_t requested, size_t block_bytes)
{
    unsigned mode = ht_mode();
    if (mode == HT_OFF) {
        return;
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    pcs[1] = 0;
    size_t depth = mode == HT_ON || stack_needed(mode) ? CAPTURE(pcs) : 0;
    uintptr_t saved = ht_port_lock();
    mode = ht_mode();
    struct ht_record *record = ht_seek((uintptr_t)block, ht_hash_address((uintptr_t)block));
    if (block != NULL && mode != HT_OFF && record->address == (uintptr_t)block && moved != NULL) {
        move(record, (uintptr_t)moved, requested, block_bytes);
    } else {
        /* Its own block, or one from before tracking that is at this size since now, or a failure. */
        record_malloc((uintptr_t)moved, requested, block_bytes, pcs, depth, FRAME_OF_HOOK());
    }
    ht_port_unlock(saved);
}

/* -- Frees ----------------------------------------------------------------------------------------------------- */

static void note_freer(uintptr_t address, uint32_t site, uint32_t key, uint32_t stack, uint32_t birth)
{
    ht_tap_free(birth, stack);
    (void)birth;
    uintptr_t hash = ht_hash_address(address);
    ht.sites[site].freed_by = (uint16_t)stack;
    ht.sites[site].free_key = stack != 0 ? key : 0;
    if (ht_was_freed(address, hash)) {
        ht_remember_freed(address, hash, stack);
    }
}

/* All that may come of a free, once. What happened, and the site where that needs the freeing stack. */
enum freeing { DONE, ANEW, MISUSE };

static enum freeing record_free(uintptr_t address, uint32_t key, uint32_t *number, uint32_t *birth)
{
    uintptr_t hash = ht_hash_address(address);
    struct ht_record *record = ht_seek(address, hash);
    if (record->address != address) {
        if (ht_was_freed(address, hash)) {
            return MISUSE;
        }
        ht_count(&ht.unknown_frees);
        ht_tap_unknown_free(address);
        return DONE;
    }
    struct ht_site_row *site = &ht.sites[*number = record->site];
    *birth = record->birth;
    uint32_t age = ht.born - record->birth;
    site->oldest_death = age > site->oldest_death ? age : site->oldest_death;
    ht_remove(record);
    bool alike = !HT_FREE_STACKS || site->free_key == key;
    if (alike) {
        ht_tap_free(*birth, site->freed_by);
    }
    ht_remember_freed(address, hash, alike ? site->freed_by : 0);
    return alike ? DONE : ANEW;
}

static __attribute__((noinline)) void free_slowly(uintptr_t address, uint32_t key, const void *frame, uintptr_t ret)
{
    uint32_t site = 0;
    uint32_t birth = 0;
    enum freeing how = MISUSE;
    uintptr_t saved = ht_port_lock();
    uint32_t generation = ht.generation;
    if (address != 0) {
        how = ht_mode() == HT_OFF ? DONE : record_free(address, key, &site, &birth);
    }
    ht_port_unlock(saved);
    if (how == DONE) {
        return;
    }
    uintptr_t pcs[HT_DEPTH_ROOM];
    size_t depth = ht_port_backtrace(pcs, HT_DEPTH, frame, ret);
    saved = ht_port_lock();
    if (generation == ht.generation && ht_mode() != HT_OFF) {
        uint32_t stack = ht_intern(pcs, depth);
        if (how == ANEW) {
            if (stack == 0 && depth != 0) {
                ht_count(&ht.free_stacks_dropped);
            }
            note_freer(address, site, key, stack, birth);
        } else if (address == 0) {
            ht_report_misuse(HT_FREE_NULL, 0, stack);
        } else {
            ht_report_misuse(HT_DOUBLE_FREE, address, stack);
            ht_tap_double_free(address, stack);
        }
    }
    ht_port_unlock(saved);
}

/* The usual free: a block at its home slot, nobody behind it, freed as the last one of its site was. Looked at in full
 * before anything is changed. */
HT_INLINE bool free_quickly(uintptr_t address, uint32_t key)
{
    uintptr_t hash = ht_hash_address(address);
    struct ht_record *record = &ht.records[ht_home_of_hash(hash)];
    HT_KEEP(record);
    struct ht_site_row *site = &ht.sites[record->site];
    HT_KEEP(site);
    uint32_t freed_by = site->freed_by;
    if (record->address != address || record[1].address != 0 || (HT_FREE_STACKS && site->free_key != key) || address == 0) {
        return false;
    }
    uint32_t age = ht.born - record->birth;
    if (!HT_LIKELY(age <= site->oldest_death)) {
        site->oldest_death = age;
    }
    ht_tap_free(record->birth, freed_by);
    record->address = 0;
    --ht.live;
    ht_remember_freed(address, hash, freed_by);
    return true;
}

/* What a free looks like from outside: who called the allocator, how deep in the stack. The depth is told by the stack
 * pointer, since __builtin_frame_address would cost the usual free a frame of its own. */
static inline uint32_t look_of(const void *caller)
{
    uintptr_t depth;
#if defined(__riscv)
    __asm__ volatile("slli %0, sp, 11" : "=r"(depth));
#elif defined(__thumb__)
    __asm__ volatile("mov %0, sp" : "=r"(depth));
    depth <<= 11;
#else
    depth = (uintptr_t)__builtin_frame_address(0) << 11;
#endif
    return (uint32_t)(uintptr_t)caller + (uint32_t)depth;
}

/* Where the hook returns to, from its frame: __builtin_return_address would be read in each call, used or not. */
#if defined(__riscv)
#define RETURN_OF_HOOK() (((const uintptr_t *)__builtin_frame_address(0))[-1])
#else
#define RETURN_OF_HOOK() ((uintptr_t)__builtin_return_address(0))
#endif

/* `ht_stop` does not wait for a free that has begun: it may still be followed, as if it had come just before. */
HOOK void ht_on_free_by(void *block, const void *caller)
{
    if (ht_mode() == HT_OFF || (block == NULL && !HT_CHECK_FREE_NULL)) {
        return;
    }
    uint32_t key = look_of(caller);
    uintptr_t saved = ht_port_lock();
    bool done = HT_FAST && free_quickly((uintptr_t)block, key);
    ht_port_unlock(saved);
    if (!HT_LIKELY(done)) {
        free_slowly((uintptr_t)block, key, FRAME_OF_HOOK(), RETURN_OF_HOOK());
        __asm__ volatile(""); /* no tail call: our frame is where the stack is looked at from */
    }
}
