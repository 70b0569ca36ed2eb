/* ht_agent.h - a heap tracer that can stay in the firmware: who allocated what is still live, at which call stack.
 *
 * INTO YOUR BUILD
 *   1. Compile the C files of src/ and of one folder of port/. Add include/ and that folder to the include path.
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

#define HT_AGENT_VERSION "0.2.0"

#ifdef __cplusplus
extern "C" {
#endif

/* -- Hooks ---------------------------------------------------------------------------------------------------------
 * Sizes are bytes. `requested` is what the caller asked for. `block_bytes` is what the allocator set aside with its
 * header and rounding, 0 where it does not know. Call the hooks from the allocator function itself, not from a helper
 * that is not inlined: the first frame is their caller. Do not let the call be the last thing that the allocator does:
 * a tail call leaves the allocator out of the stack. */

/* After an allocation, before the block is handed out. `block` NULL tells of a failed one. */
void ht_on_malloc(void *block, size_t requested, size_t block_bytes);

/* BEFORE the block goes back to the free list. Afterwards would be too late: another task may get the same address in
 * between, and its record would be removed instead. `caller` is who called the allocator: with the depth of the stack it
 * tells whether this free is like the site's last one, whose stack is then known and need not be taken again. */
void ht_on_free_by(void *block, const void *caller);
#define ht_on_free(block) ht_on_free_by((block), __builtin_return_address(0))

/* After a realloc that is no malloc + copy + free of its own (those call the hooks above), before the old block goes
 * back to the free list. The block keeps its first birth and site. `moved` NULL: it failed, `block` lives on. */
void ht_on_realloc(void *block, void *moved, size_t requested, size_t block_bytes);

/* -- Control ------------------------------------------------------------------------------------------------------- */

/* Forget everything and record from now on. With names, only the tasks of these names (cut to HT_NAME_BYTES - 1
 * letters; at most HT_FILTERS); count 0 records all. Frees are followed whichever task does them.
 * False, and nothing changed: too many names. */
bool ht_start(const char *const names[], size_t count);

/* Record no new blocks, but go on following frees, until ht_resume: what is still live in the end was live at the pause.
 * False, and nothing changed: it was not recording, or not paused. */
bool ht_pause(void);
bool ht_resume(void);

/* Stop recording; what was recorded stays readable. From here on frees are not followed. */
void ht_stop(void);

/* Stop and forget everything, the filter included. */
void ht_clear(void);

/* -- Reading: copies only, the lock is never held between two calls -------------------------------------------------- */

typedef struct { /* the console prints some fields in the order in which they stand here; so of a block and a site */
    bool on, paused;
    uint32_t live;              /* blocks recorded and not freed */
    uint32_t capacity;          /* HT_RECORDS */
    uint32_t stacks;            /* distinct stacks kept, those that only freed included */
    uint32_t stack_capacity;    /* HT_STACKS */
    uint32_t filters;           /* names in force */
    uint32_t unrecorded;        /* blocks counted at their site, without a record: the pool was full */
    uint32_t stacks_dropped;    /* allocations counted under "other": the table of sites or stacks was full */
    uint32_t failed;            /* allocations that failed */
    uint32_t missed_frees;      /* an address came again without a free in between: some free has no hook */
    uint32_t double_frees;
    uint32_t null_frees;
    uint32_t free_stacks_dropped; /* freeing stacks that found no room: the site then says "freed by: not known" */
    uint32_t while_paused;      /* allocations during a pause: not recorded on purpose */
    uint32_t sites;             /* distinct stacks that allocated */
    uint32_t site_capacity;     /* HT_SITES less the agent's two */
    uint32_t allocs;            /* allocations seen, failed ones not counted */
    uint32_t frees;             /* frees of recorded blocks */
    uint32_t unknown_frees;     /* frees of blocks without a record: older than ht_start, filtered, or unrecorded */
} ht_totals;

void ht_get_totals(ht_totals *out);

/* The i-th filter name, i < filters; false if there is none. */
bool ht_get_filter(size_t i, char name[HT_NAME_BYTES]);

typedef struct {
    uintptr_t address;
    uint32_t requested_bytes;
    uint32_t overhead_bytes;    /* block less requested; 255 means unknown, or 255 and more */
    uint32_t site;
    uint32_t thread_number;     /* for ht_get_thread */
    uint32_t sequence;          /* its number among all allocations since ht_start, from 1; wraps */
    uint32_t age;               /* allocations that came after it */
    uint32_t stack;             /* for ht_get_stack: where it was allocated; 0: none */
    uint32_t thread_id;         /* the port's number of the task, or one of ht_port.h's two */
    char thread[HT_NAME_BYTES]; /* as it was called when first seen; the task may be gone */
} ht_block;

/* A task that was seen: the port's number of it, and its name of that time. False: there is no such number. */
bool ht_get_thread(uint32_t number, uint32_t *id, char name[HT_NAME_BYTES]);

typedef struct {
    uint32_t generation, newest, last_age;
    bool begun, first;
} ht_cursor;

/* Let a listing begin now, although its first block is asked for later. */
void ht_begin_blocks(ht_cursor *cursor);

/* Live blocks, newest first. Zero the cursor to begin. Blocks born after the first call are left out; ones that are
 * freed meanwhile disappear. False at the end, or when ht_start or ht_clear came in between.
 * Cost: one pass over the records per block. */
bool ht_next_block(ht_cursor *cursor, ht_block *out);

enum { HT_SITE_OTHER = 0, HT_SITE_NO_STACK = 1 };

typedef struct {
    uint32_t number;            /* 0: no stack */
    uint32_t depth;
    uintptr_t frames[HT_DEPTH > 0 ? HT_DEPTH : 1]; /* call addresses, innermost first */
} ht_stack_copy;

/* A stack by its number, 1 and up; false past the last one. */
bool ht_get_stack(uint32_t number, ht_stack_copy *out);

typedef struct {
    uint32_t live, live_bytes;  /* recorded and not freed; requested bytes */
    uint32_t allocs, frees, failed, unrecorded;
    uint32_t first_birth;       /* sequence number of its first allocation; 0 where there was none */
    uint32_t last_birth;
    uint32_t oldest_death;      /* greatest age, in allocations, that a freed block of it reached */
    uint32_t freed_by;          /* number of the stack that last freed a block of it; 0: none did, or not known.
                                   Frees through the same caller at the same depth of the same task's stack are taken
                                   for alike, so of two such stacks the first is named. */
    ht_stack_copy stack;        /* where it allocates */
} ht_site;

/* The site of this number: 0 "other", 1 "no stack", then in order of first sight; false past the last one.
 * Cost: one pass over the records. */
bool ht_get_site(uint32_t index, ht_site *out);

typedef enum { HT_DOUBLE_FREE, HT_FREE_NULL } ht_misuse;

typedef struct {
    ht_misuse kind;
    uint32_t count;             /* how often */
    uint32_t stack;             /* numbers of the stack that did it, */
    uint32_t before;            /* and of the one that had freed the block before; 0: not known */
    uintptr_t address;          /* of the first time */
    char thread[HT_NAME_BYTES];
} ht_report;

/* The i-th misuse report since ht_start; false past the last one. */
bool ht_get_report(size_t i, ht_report *out);

/* -- Console --------------------------------------------------------------------------------------------------------
 * argv[0] is "memleak". `put` gets one whole line at a time, line end included, and may block: no lock is held.
 *   memleak 1 [THREAD...]  record, everything or these tasks      memleak show          live blocks, go on recording
 *   memleak 0              live blocks, then stop and forget      memleak show compact  the same, each stack once
 *   memleak pause, resume  record no new blocks, follow frees     memleak sites         counters of each stack
 *   memleak stream         the event stream on this line, until `memleak stream 0` (builds with HT_STREAM: ht_stream.h)
 * The layout of 0 and show is the vendor's, newest block first: size is the requested one, addresses are call addresses.
 * A begin line and an end line stand around every dump. SPEC.md, "Agent text", has all of it.
 * False: not understood, and the usage line was printed. */
typedef void (*ht_put)(void *context, const char *line);
bool ht_console(int argc, const char *const argv[], ht_put put, void *context);

#ifdef __cplusplus
}
#endif
#endif
