/* ht_wire.h - the event stream: every allocation and free as a few bytes, for a UART, RTT or a file.
 *
 * TWO SIDES
 *   The hooks' side (ht_wire_alloc ... ht_wire_flush) only appends: a few bytes, no loop over a frame, no checksum.
 *   The reader's side (ht_wire_pick, ht_wire_seal) takes one finished frame at a time and makes it fit for the line.
 *   Call everything inside one lock, but for ht_wire_seal, which does the long work and touches only its own bytes.
 *
 * WHAT IT PROMISES
 *   - It never allocates, prints or waits. All memory is the caller's (ht_wire_config).
 *   - No frame needs an earlier one to be read. Definitions of stacks and tasks are sent once before they matter and
 *     then again and again, a few for each HT_WIRE_REPEAT frames, so that a reader may join late or lose any frame.
 *   - What finds no room is not sent, but counted: the next frame's numbers say how many events are missing, or a
 *     greeting's where no frame follows.
 *
 * SPEC.md, "Wire, version 1", has it bit by bit. src/heaptrail/wire.py reads it; tests/wire/ holds the two together.
 */
#ifndef HT_WIRE_H
#define HT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Equal to VERSION in src/heaptrail/wire.py; a test compares them. The string ht_wire_version stands in the ELF. */
#define HT_WIRE_VERSION 1
extern const char ht_wire_version[];

#define HT_WIRE_FRAME_BYTES 256u /* on the line: key, 254 bytes at most, zero */
#define HT_WIRE_BODY_BYTES 230u  /* of an events frame: 254 less header (22) and checksum (2) */
#define HT_WIRE_NAME_BYTES 32u   /* letters sent of a task's name, at most */
#define HT_WIRE_DEPTH 32u        /* frames sent of a stack, at most */

/* Events frames between two repetitions of a few definitions. The line carries about 1/17 more for it. */
#ifndef HT_WIRE_REPEAT
#define HT_WIRE_REPEAT 16u
#endif
#if HT_WIRE_REPEAT < 1
#error "HT_WIRE_REPEAT must be 1 or more: definitions are repeated after so many frames of events, 16 is usual"
#endif

/* One frame while it fills: controls grow from the front of `body`, values from its end. */
typedef struct {
    uintptr_t base;          /* the address that the first difference counts from */
    uint32_t event, birth, time; /* numbers of the first event and of the last allocation before it; time at its start */
    uint8_t count, values;   /* events; bytes of values */
    uint8_t shift;           /* low bits of an address that are left out */
    uint8_t body[HT_WIRE_BODY_BYTES];
} ht_wire_frame;

/* What is usual at a stack: its first allocation's size, and the task that was first seen there. */
typedef struct {
    uint32_t size;
    uint8_t task, state;
} ht_wire_row;

typedef struct {
    ht_wire_frame *frames;   /* the ring; 2 at least, each holds some 40 events */
    uint32_t frame_count;
    ht_wire_row *rows;       /* by stack number; a stack with no row is sent as 0, "no stack" */
    uint32_t row_count;      /* at most 65536 */
    uint32_t ticks_per_s;    /* of `now`; 0: not known */
    const uint8_t *build_id; /* of the program, or NULL */
    uint32_t build_id_bytes; /* at most 20 are sent */
    void *context;           /* for the two below, which ht_wire_pick calls */
    /* Call addresses of a stack, innermost first; returns how many, `max` at most. */
    size_t (*stack)(void *context, uint32_t number, uintptr_t *pcs, size_t max);
    /* A task's name, and through `id` the system's number of it. NULL: not known. */
    const char *(*task)(void *context, uint8_t number, uint32_t *id);
} ht_wire_config;

typedef struct {
    ht_wire_config config;
    uint32_t head, tail;     /* frames[head] fills; from tail up to it they wait for the reader */
    bool open;               /* frames[head] holds events */
    uint32_t events, births; /* numbers given so far, those not sent included */
    uint32_t dropped;        /* events that found no room */
    uint32_t time;           /* of the last event that was sent */
    uintptr_t address;       /* that the next difference counts from */
    uint8_t shift;
    uint32_t frames_sent;    /* events frames */
    uint32_t next_row;       /* whose turn it is to be repeated */
    uint32_t pending_rows;   /* definitions that were never sent */
    bool pending_tasks, hello_due, repeat_due;
    bool tell_at_end;        /* a greeting is due when all frames have left: events were dropped behind them, or it ends */
    uint8_t tasks_seen[32], tasks_due[32]; /* bit sets */
} ht_wire;

/* -- The hooks' side -----------------------------------------------------------------------------------------------
 * `stack` is a number of the caller's, 0 where there is none; `task` one byte. `now` is in ticks and may wrap; a step
 * back counts as none. */

/* Begin. False: fewer than two frames, or no rows. */
bool ht_wire_open(ht_wire *wire, const ht_wire_config *config);

/* An allocation. Its number, counted from 1 in 32 bits, is what ages below are differences of. */
void ht_wire_alloc(ht_wire *wire, uintptr_t address, uint32_t size, uint32_t stack, uint8_t task, uint32_t now);

/* A block is freed that was born `age` allocations before the last one (0: it is the last one's). */
void ht_wire_free(ht_wire *wire, uint32_t age, uint32_t stack, uint8_t task, uint32_t now);

/* A block is freed whose age is not known. */
void ht_wire_free_at(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now);

/* A block has moved or changed its size; it keeps its birth. */
void ht_wire_realloc(ht_wire *wire, uint32_t age, uintptr_t moved, uint32_t size, uint32_t stack, uint8_t task,
                     uint32_t now);

void ht_wire_failed(ht_wire *wire, uint32_t size, uint32_t stack, uint8_t task, uint32_t now);
void ht_wire_double_free(ht_wire *wire, uintptr_t address, uint32_t stack, uint8_t task, uint32_t now);

/* A moment that structures the run. `number` is the caller's own, such as the round's. */
enum { HT_WIRE_CYCLE = 0, HT_WIRE_WORKLOAD_START = 1, HT_WIRE_WORKLOAD_STOP = 2, HT_WIRE_TEARDOWN_DONE = 3,
       HT_WIRE_USER = 16 };
void ht_wire_mark(ht_wire *wire, uint8_t kind, uint32_t number, uint32_t now);

/* Close the frame that fills, so that a quiet system's last events reach the reader, too. */
void ht_wire_flush(ht_wire *wire);

/* The same, and let a greeting follow the last frame: a reader that lost that frame learns of it. Then take what there is. */
void ht_wire_end(ht_wire *wire);

/* Send every definition again: the reader is new, or says that it lost something. */
void ht_wire_repeat(ht_wire *wire);

/* -- The reader's side --------------------------------------------------------------------------------------------- */

/* Inside the lock: copy the next frame out. Its length before sealing, 0 when there is nothing to send. */
size_t ht_wire_pick(ht_wire *wire, uint8_t frame[HT_WIRE_FRAME_BYTES]);

/* Outside it: checksum, key and closing zero, in place. How many bytes to send, from `frame` on. */
size_t ht_wire_seal(uint8_t frame[HT_WIRE_FRAME_BYTES], size_t picked);

#ifdef __cplusplus
}
#endif
#endif
