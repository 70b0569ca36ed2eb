/* Inside the agent: its tables, and the functions that keep them. All of them are called inside the port's lock.
 *
 * Nothing outside src/ includes this file; the contract is ht_agent.h. */
#ifndef HT_STORE_H
#define HT_STORE_H

#include <stdatomic.h>
#include <string.h>

#include "ht_agent.h"
#include "ht_callsite.h"
#include "ht_port.h"

#define HT_HOMES (HT_RECORDS + HT_RECORDS / 16)
#define HT_SLOTS (HT_HOMES + 1) /* the last one is nobody's home: behind every home there is another slot */
#define HT_INDEX_SLOTS (2 * HT_STACKS)
#define HT_OVERHEAD_UNKNOWN 255u
#define HT_DEPTH_ROOM (HT_DEPTH > 1 ? HT_DEPTH : 2) /* two are looked at in any case */
#define HT_STACK_HINTS 64u  /* a power of two */
#define HT_THREAD_HINTS 32u /* a power of two */

/* How a kept return address is shown. The tests' port gives addresses of no code, which cannot be stepped back in. */
#ifndef HT_SHOWN_ADDRESS
#define HT_SHOWN_ADDRESS(ret) ht_call_address(ret)
#endif

struct ht_record {
    uintptr_t address; /* 0: empty */
    uint32_t requested;
    uint32_t birth;
    uint16_t site;
    uint8_t thread;
    uint8_t overhead;
};
_Static_assert(sizeof(struct ht_record) <= 8 + 2 * sizeof(uintptr_t), "a record is 16 bytes on 32-bit, 24 on 64-bit");
_Static_assert(HT_RECORDS < 64 || HT_SLOTS * 16 * 6 <= HT_RECORDS * 104, "empty slots counted, six to the vendor's one");

struct ht_stack {
    uint32_t first_frame;
    uint16_t site; /* 0: nothing was allocated from here, only freed */
    uint8_t depth;
};

/* What is live at a site, and in bytes, is summed up over the records when it is asked for, so that no free has to keep it.
 * All allocations of a site are `recorded + gone + unrecorded`; its frees are `recorded` less what is live. `recorded` may
 * wrap, which HT_WRAPPED says; the two others stop. */
#define HT_WRAPPED 0x80000000u
struct ht_site_row {
    uint32_t recorded;
    uint32_t gone; /* blocks whose free had no hook; and HT_WRAPPED */
    uint32_t failed, unrecorded;
    uint32_t first_birth, last_birth, oldest_death;
    uint32_t free_key;        /* what the last free looked like from outside: its stack is taken anew when this differs */
    uint16_t stack, freed_by; /* stack numbers, 0: none; then free_key is 0, too */
};

struct ht_thread {
    bool wanted;
    char name[HT_NAME_BYTES];
};

struct ht_misuse_row {
    ht_misuse kind;
    uint32_t count;
    uintptr_t address;
    uint16_t stack, before; /* stack numbers, 0: none */
    uint8_t thread;
};

struct ht_freed {
    uintptr_t address;
    uint16_t stack;
};

enum { HT_OFF, HT_ON, HT_FILTERED, HT_PAUSED };

struct ht_state {
    atomic_uchar mode;
    uint32_t generation; /* of the tables: a cursor from before a clear is told */
    uint32_t born;       /* the last birth given */
    uint32_t live;       /* records in use; the other sums are taken over the sites when they are asked for */
    uint32_t stacks_dropped, free_stacks_dropped, unknown_frees, missed_frees, double_frees, null_frees, while_paused;
    uint32_t site_count, stack_count, frame_count, thread_count, misuse_count, filter_count;
    /* What every hook needs comes first: its offsets fit into the instructions. */
    uint32_t thread_ids[HT_THREADS + 1];
    uint8_t thread_hints[HT_THREAD_HINTS];
    uint16_t stack_hints[HT_STACK_HINTS]; /* stack number: of the last stack that looked like this at a glance */
#if HT_CHECK_DOUBLE_FREE
    struct ht_freed freed[HT_FREED];
#endif
    struct ht_site_row sites[HT_SITES];
    struct ht_stack stacks[HT_STACKS + 1];
    uint16_t index[HT_INDEX_SLOTS]; /* stack number, 0 is empty */
    uintptr_t frames[HT_FRAMES > 0 ? HT_FRAMES : 1];
    struct ht_thread threads[HT_THREADS + 1]; /* the last one is "(other)", with whichever task was last counted there */
    struct ht_misuse_row misuses[HT_REPORTS];
    char filters[HT_FILTERS][HT_NAME_BYTES];
    struct ht_record records[HT_SLOTS];
};
extern struct ht_state ht;

#define HT_LIKELY(condition) __builtin_expect(!!(condition), 1)

/* What pays where speed is asked for (-O2) is left to the compiler where size is (-Os). */
#ifdef __OPTIMIZE_SIZE__
#define HT_INLINE static inline
#define HT_FAST 0
#else
#define HT_INLINE static inline __attribute__((always_inline))
#define HT_FAST 1 /* the usual cases once more, by themselves and unrolled */
#endif

static inline void ht_count(uint32_t *counter) { *counter += *counter != UINT32_MAX; }

static inline unsigned ht_mode(void) { return atomic_load_explicit(&ht.mode, memory_order_relaxed); }

/* Have a pointer computed once: with tables this large, compilers else add up its parts again at every use. */
#define HT_KEEP(pointer) __asm__("" : "+r"(pointer))

static inline uintptr_t ht_hash_address(uintptr_t address)
{
    /* A product's high bits know all lower ones; it is they that choose. */
    return address * (uintptr_t)(UINTPTR_MAX > 0xffffffffu ? 0x9e3779b97f4a7c15u : 2654435769u);
}

/* The high half of a product, so that the homes need not be a power of two. */
static inline size_t ht_home_of_hash(uintptr_t hash)
{
#if UINTPTR_MAX > 0xffffffffu
    __extension__ typedef unsigned __int128 wide;
    return (size_t)(((wide)hash * HT_HOMES) >> 64);
#else
    return (size_t)(((uint64_t)hash * HT_HOMES) >> 32);
#endif
}

/* -- ht_store.c: the records by address. What happens most is here, inline: the home slot decides, and nobody follows. */

struct ht_record *ht_seek_on(struct ht_record *slot, uintptr_t address);
void ht_make_room(struct ht_record *slot);
void ht_remove_on(struct ht_record *slot, struct ht_record *next);

/* The record at `address`, or the slot where it would have to stand (whose address is another one, or 0). */
static inline struct ht_record *ht_seek(uintptr_t address, uintptr_t hash)
{
    struct ht_record *home = &ht.records[ht_home_of_hash(hash)];
    HT_KEEP(home);
    return HT_LIKELY(home->address == address || home->address == 0) ? home : ht_seek_on(home, address);
}

/* The slot that ht_seek named becomes free for a new record: those that stand there move on. The pool must not be full. */
static inline void ht_take(struct ht_record *slot)
{
    ++ht.live;
    if (!HT_LIKELY(slot->address == 0)) {
        ht_make_room(slot);
    }
}

static inline void ht_remove(struct ht_record *slot)
{
    struct ht_record *next = slot == &ht.records[HT_SLOTS - 1] ? &ht.records[0] : slot + 1;
    --ht.live;
    if (next->address == 0) {
        slot->address = 0;
    } else {
        ht_remove_on(slot, next);
    }
}

/* -- Freed addresses. One slot an address may be in: O(1), and a later free in the same slot only makes us forget, never
 * accuse. */

#if HT_CHECK_DOUBLE_FREE
static inline struct ht_freed *ht_freed_slot(uintptr_t hash) { return &ht.freed[hash / (UINTPTR_MAX / HT_FREED + 1u)]; }
#endif

static inline bool ht_was_freed(uintptr_t address, uintptr_t hash)
{
#if HT_CHECK_DOUBLE_FREE
    return ht_freed_slot(hash)->address == address;
#else
    (void)address, (void)hash;
    return false;
#endif
}

static inline void ht_remember_freed(uintptr_t address, uintptr_t hash, uint32_t stack)
{
#if HT_CHECK_DOUBLE_FREE
    ht_freed_slot(hash)->address = address;
    ht_freed_slot(hash)->stack = (uint16_t)stack;
#else
    (void)address, (void)hash, (void)stack;
#endif
}

/* The address is in use again: whoever frees it now is right to do so. */
static inline void ht_forget_freed(uintptr_t address, uintptr_t hash)
{
#if HT_CHECK_DOUBLE_FREE
    if (ht_was_freed(address, hash)) {
        ht_freed_slot(hash)->address = 0;
    }
#else
    (void)address, (void)hash;
#endif
}

/* Count a misuse, and keep its stacks if there is room for another report. */
void ht_report_misuse(ht_misuse kind, uintptr_t address, uint32_t stack);

/* -- ht_stacks.c: call stacks and what is counted at them, tasks by name. */

/* The number of this stack, kept from now on; 0: there is no stack, or no more room. */
uint32_t ht_intern(const uintptr_t *pcs, size_t depth);
HT_INLINE bool ht_same_stack(const struct ht_stack *stack, const uintptr_t *pcs, size_t depth)
{
    size_t first = stack->first_frame;
    const uintptr_t *kept = &ht.frames[first];
    const uintptr_t *end = pcs + depth; /* a C library's memcmp goes by bytes */
    if (stack->depth != depth) {
        return false;
    }
    if (HT_FAST && (depth & 1u) && *pcs++ != *kept++) {
        return false;
    }
    for (; pcs != end; pcs += 1 + HT_FAST, kept += 1 + HT_FAST) {
        if (pcs[0] != kept[0] || (HT_FAST && pcs[1] != kept[1])) {
            return false;
        }
    }
    return true;
}

/* The site of an allocation at this stack, by its number; 0: no stack was kept. */
uint32_t ht_site_of_stack(uint32_t number);

/* What was seen last with the caller of the allocator (pcs[1], which must be there) at this depth of the stack. */
static inline uint16_t *ht_stack_hint(const uintptr_t *pcs, const void *frame)
{
    uint32_t glance = ((uint32_t)pcs[1] * 5u + (uint32_t)(uintptr_t)frame) * 2654435769u;
    return &ht.stack_hints[glance / (UINT32_MAX / HT_STACK_HINTS + 1u)];
}

/* The site of an allocation here. Most allocations come from where one came from lately: then the whole stack is compared
 * once, and not hashed. */
static inline uint32_t ht_site_of(const uintptr_t *pcs, size_t depth, const void *frame)
{
    if (depth == 0) {
        return HT_SITE_NO_STACK;
    }
    uint16_t *hint = ht_stack_hint(pcs, frame);
    if (!ht_same_stack(&ht.stacks[*hint], pcs, depth)) { /* the first one is nobody's: it has no frames */
        *hint = (uint16_t)ht_intern(pcs, depth);
    }
    uint32_t site = ht.stacks[*hint].site;
    return site != 0 ? site : ht_site_of_stack(*hint);
}
void ht_copy_name(char to[HT_NAME_BYTES], const char *from);
uint32_t ht_find_thread(uint32_t id);

/* The running task's place in the table. */
static inline uint32_t ht_current_thread(void)
{
    uint32_t id = ht_port_thread_id();
    uint32_t hint = ht.thread_hints[id & (HT_THREAD_HINTS - 1)];
    return HT_LIKELY(ht.thread_ids[hint] == id) ? hint : ht_find_thread(id);
}

#endif
