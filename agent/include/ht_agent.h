/* ht_agent.h - a heap tracer that can stay in the firmware: who allocated what is still live, at which call stack.
 *
 * INTO YOUR BUILD
 *   1. Compile src/ht_agent.c, src/ht_console.c and one file of port/. Add include/ to the include path.
 *   2. Call the hooks from the allocator, as said at each of them below.
 *   3. Hand console lines that begin with `memleak` to ht_console().
 *   4. Build with frame pointers where the port says so (-fno-omit-frame-pointer), or there will be "no stack".
 *
 * WHAT IT PROMISES
 *   - It never allocates. All memory is one static pool; ht_config.h tells the size.
 *   - A hook is O(1): a few hash probes and a backtrace of at most HT_DEPTH frames. Switched off, it is one load.
 *   - It never evicts. What cannot be recorded is counted, at its site where that is known, and every dump says so.
 *   - It keeps no pointer that it was given, but for the block's address, which it never reads through.
 *   - Counters are 32 bits and stop at 0xffffffff, which then means "at least". Sequence numbers wrap: order and ages
 *     are right for blocks younger than 2^32 allocations.
 *
 * WHO MAY CALL
 *   hooks     any task, with the scheduler suspended, before it starts, and interrupts if ht_port_lock allows them.
 *   the rest  tasks only. A second caller at the same time is safe, but the two see each other's ht_start and ht_clear.
 *   No function takes the allocator's lock, so hooks may run inside it.
 */
#ifndef HT_AGENT_H
#define HT_AGENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ht_config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -- Hooks ---------------------------------------------------------------------------------------------------------
 * Sizes are bytes. `requested` is what the caller asked for. `block_bytes` is what the allocator set aside with its
 * header and rounding, 0 where it does not know. Call the hooks from the allocator function itself, not from a helper
 * that is not inlined: the first frame is their caller. */

/* After an allocation, before the block is handed out. `block` NULL tells of a failed one. */
void ht_on_malloc(void *block, size_t requested, size_t block_bytes);

/* BEFORE the block goes back to the free list. Afterwards would be too late: another task may get the same address in
 * between, and its record would be removed instead. */
void ht_on_free(void *block);

/* After a realloc that is no malloc + copy + free of its own (those call the hooks above), before the old block goes
 * back to the free list. The block keeps its first birth and site. `moved` NULL: it failed, `block` lives on. */
void ht_on_realloc(void *block, void *moved, size_t requested, size_t block_bytes);

/* -- Control ------------------------------------------------------------------------------------------------------- */

/* Forget everything and record from now on. With names, only the tasks of these names (cut to HT_NAME_BYTES - 1
 * letters; at most HT_FILTERS); count 0 records all. Frees are followed whichever task does them.
 * False, and nothing changed: too many names. */
bool ht_start(const char *const names[], size_t count);

/* Stop recording; what was recorded stays readable. From here on frees are not followed. */
void ht_stop(void);

/* Stop and forget everything, the filter included. */
void ht_clear(void);

/* -- Reading: copies only, the lock is never held between two calls -------------------------------------------------- */

typedef struct {
    bool on;
    uint32_t live;              /* blocks recorded and not freed */
    uint32_t capacity;          /* HT_RECORDS */
    uint32_t unrecorded;        /* blocks counted at their site, without a record: the pool was full */
    uint32_t stacks;            /* distinct stacks kept */
    uint32_t stack_capacity;    /* HT_SITES less the agent's two */
    uint32_t stacks_dropped;    /* allocations counted under "other": the stack table was full */
    uint32_t allocs;            /* allocations seen, failed ones not counted */
    uint32_t frees;             /* frees of recorded blocks */
    uint32_t unknown_frees;     /* frees of blocks without a record: older than ht_start, filtered, or unrecorded */
    uint32_t missed_frees;      /* an address came again without a free in between: some free has no hook */
    uint32_t failed;            /* allocations that failed */
    uint32_t double_frees;
    uint32_t null_frees;
    uint32_t filters;           /* names in force */
} ht_totals;

void ht_get_totals(ht_totals *out);

/* The i-th filter name, i < filters; false if there is none. */
bool ht_get_filter(size_t i, char name[HT_NAME_BYTES]);

typedef struct {
    uintptr_t address;
    uint32_t requested_bytes;
    uint32_t overhead_bytes;    /* block less requested; 255 means unknown, or 255 and more */
    uint32_t age;               /* allocations that came after it */
    uint32_t site;
    char thread[HT_NAME_BYTES]; /* as it was called when first seen; the task may be gone */
} ht_block;

typedef struct {
    uint32_t generation, newest, last_age;
    bool begun;
} ht_cursor;

/* Live blocks, newest first. Zero the cursor to begin. Blocks born after the first call are left out; ones that are
 * freed meanwhile disappear. False at the end, or when ht_start or ht_clear came in between.
 * Cost: one pass over the records per block. */
bool ht_next_block(ht_cursor *cursor, ht_block *out);

enum { HT_SITE_OTHER = 0, HT_SITE_NO_STACK = 1 };

typedef struct {
    uint32_t live, live_bytes;  /* recorded and not freed; requested bytes */
    uint32_t allocs, frees, failed, unrecorded;
    uint32_t first_birth;       /* sequence number of its first allocation */
    uint32_t last_birth;
    uint32_t oldest_death;      /* greatest age, in allocations, that a freed block of it reached */
    uint32_t depth;
    uintptr_t frames[HT_DEPTH > 0 ? HT_DEPTH : 1];
} ht_site;

/* The site of this number: 0 "other", 1 "no stack", then in order of first sight; false past the last one. */
bool ht_get_site(uint32_t index, ht_site *out);

typedef enum { HT_DOUBLE_FREE, HT_FREE_NULL } ht_misuse;

typedef struct {
    ht_misuse kind;
    uint32_t count, site;       /* how often, and the stack that did it */
    uintptr_t address;          /* of the first time */
    char thread[HT_NAME_BYTES];
} ht_report;

/* The i-th misuse report since ht_start; false past the last one. */
bool ht_get_report(size_t i, ht_report *out);

/* -- Console --------------------------------------------------------------------------------------------------------
 * argv[0] is "memleak". `put` gets one whole line at a time, line end included, and may block: no lock is held.
 *   memleak 1 [THREAD...]  record, everything or these tasks      memleak show   live blocks, go on recording
 *   memleak 0              live blocks, then stop and forget      memleak sites  counters of each stack
 * The layout of 0 and show is the vendor's, newest block first; SPEC: size is the requested one, addresses are call
 * addresses. False: not understood, and the usage line was printed. */
typedef void (*ht_put)(void *context, const char *line);
bool ht_console(int argc, const char *const argv[], ht_put put, void *context);

#ifdef __cplusplus
}
#endif
#endif
