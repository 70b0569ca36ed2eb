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

#define HT_SLOTS (HT_RECORDS + HT_RECORDS / 16 + 1)
#define HT_INDEX_SLOTS (2 * HT_STACKS)
#define HT_OVERHEAD_UNKNOWN 255u
#define HT_DEPTH_ROOM (HT_DEPTH > 0 ? HT_DEPTH : 1)
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
    uint32_t hash, first_frame;
    uint16_t site; /* 0: nothing was allocated from here, only freed */
    uint8_t depth;
};

struct ht_site_row {
    uint32_t live, live_bytes, allocs, frees, failed, unrecorded;
    uint32_t first_birth, last_birth, oldest_death;
    uint32_t free_key;        /* what the last free looked like from outside: its stack is taken anew when this differs */
    uint16_t stack, freed_by; /* stack numbers, 0: none */
};

struct ht_thread {
    uint32_t id;
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

enum { HT_OFF, HT_ON, HT_PAUSED };

struct ht_state {
    atomic_uchar mode;
    atomic_bool filtered; /* filter_count != 0, to be asked outside the lock */
    uint32_t generation; /* of the tables: a cursor from before a clear is told */
    uint32_t born;       /* the last birth given */
    uint32_t allocs, frees, live, unrecorded, stacks_dropped, free_stacks_dropped, unknown_frees, missed_frees, failed;
    uint32_t double_frees, null_frees, while_paused;
    uint32_t site_count, stack_count, frame_count, thread_count, misuse_count, filter_count;
    struct ht_record records[HT_SLOTS];
    struct ht_site_row sites[HT_SITES];
    struct ht_stack stacks[HT_STACKS + 1];
    uint16_t index[HT_INDEX_SLOTS]; /* stack number, 0 is empty */
    uintptr_t frames[HT_FRAMES > 0 ? HT_FRAMES : 1];
    struct ht_thread threads[HT_THREADS + 1]; /* the last one is "(other)" */
    uint8_t thread_hints[HT_THREAD_HINTS];
    struct ht_misuse_row misuses[HT_REPORTS];
    char filters[HT_FILTERS][HT_NAME_BYTES];
#if HT_CHECK_DOUBLE_FREE
    struct ht_freed freed[HT_FREED];
#endif
};
extern struct ht_state ht;

static inline void ht_count(uint32_t *counter) { *counter += *counter != UINT32_MAX; }

static inline unsigned ht_mode(void) { return atomic_load_explicit(&ht.mode, memory_order_relaxed); }

static inline uint32_t ht_hash_address(uintptr_t address)
{
    /* Allocators align to 8 at least: the low bits say nothing. The high half matters where heaps are far apart. */
#if UINTPTR_MAX > 0xffffffffu
    return (uint32_t)(address >> 3 ^ address >> 35) * 2654435769u;
#else
    return (address >> 3) * 2654435769u;
#endif
}

static inline uint32_t ht_home_of_hash(uint32_t hash) { return (uint32_t)(((uint64_t)hash * HT_SLOTS) >> 32); }

static inline uint32_t ht_next_slot(uint32_t slot) { return slot + 1 == HT_SLOTS ? 0 : slot + 1; }

/* ht_store.c: the records by address. */

/* The slot of the record at `address`, or the one where it would have to stand; `found` says which. */
uint32_t ht_seek(uintptr_t address, uint32_t hash, bool *found);
/* Put a record in, at the slot that ht_seek named for it. False if the pool is full. */
bool ht_insert(uint32_t slot, const struct ht_record *record);
void ht_remove(uint32_t slot);

/* ht_stacks.c: call stacks and what is counted at them, tasks by name. */

/* The number of this stack, kept from now on; 0: there is no stack, or no more room. */
uint32_t ht_intern(const uintptr_t *pcs, size_t depth);
/* The site of an allocation at this stack. */
uint32_t ht_site_of(const uintptr_t *pcs, size_t depth);
void ht_copy_name(char to[HT_NAME_BYTES], const char *from);
/* The running task's place in the table; through `wanted` whether the filter lets it pass. */
uint8_t ht_current_thread(bool *wanted);

#endif
