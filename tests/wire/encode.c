/* Writes the decoder's test vectors: feeds the encoder a list of calls, prints what it was told as JSON, and the bytes.
 *
 * usage: encode scripted | random SEED EVENTS | full | ended | loop EVENTS
 * Output: one JSON object a line, {"kind", "address", ...} for each call in order; then {"bytes": "hex"}.
 * `loop` writes the bare bytes, for benches.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ht_wire.h"

enum { STACKS = 400, FRAMES = 8, LIVE = 64 };

static ht_wire_frame frames[FRAMES];
static ht_wire_row rows[STACKS];
static ht_wire wire;
static uint8_t sealed[HT_WIRE_FRAME_BYTES];
static uint8_t *out;
static size_t out_bytes, out_room;

static size_t stack_of(void *context, uint32_t number, uintptr_t *pcs, size_t max)
{
    (void)context;
    size_t depth = number % 9;
    depth = number == 33 ? 32 : depth;
    for (size_t i = 0; i < depth && i < max; i++) {
        pcs[i] = number == 33 ? (uintptr_t)0x7f0000000000 + (i % 2 ? 0x80000000000 * i : i) : 0x8330000 + number * 64 + (i * 1234 % 777);
    }
    return depth < max ? depth : max;
}

static const char *task_of(void *context, uint8_t number, uint32_t *id)
{
    static char name[16];
    (void)context;
    *id = number * 1000u;
    (void)snprintf(name, sizeof name, "task %u", number);
    return number == 7 ? NULL : name;
}

static void drain(size_t frames_most)
{
    for (size_t picked; frames_most-- > 0 && (picked = ht_wire_pick(&wire, sealed)) != 0;) {
        size_t bytes = ht_wire_seal(sealed, picked);
        if (out_bytes + bytes > out_room) {
            out_room = 2 * out_room + 4096;
            out = realloc(out, out_room);
        }
        memcpy(out + out_bytes, sealed, bytes);
        out_bytes += bytes;
    }
}

static void begin(void)
{
    static const uint8_t BUILD_ID[4] = {0xde, 0xad, 0xbe, 0xef};
    ht_wire_config config = {.frames = frames, .frame_count = FRAMES, .rows = rows, .row_count = STACKS, .ticks_per_s = 1000,
                             .build_id = BUILD_ID, .build_id_bytes = 4, .stack = stack_of, .task = task_of};
    if (!ht_wire_open(&wire, &config)) {
        exit(2);
    }
}

/* -- One call of each, said as JSON --------------------------------------------------------------------------------- */

static uint32_t now, births;

static void say(const char *kind, uint64_t address, uint32_t size, uint32_t age, uint32_t stack, unsigned task)
{
    printf("{\"kind\": \"%s\", \"address\": %" PRIu64 ", \"size\": %u, \"age\": %u, \"stack\": %u, \"task\": %u, "
           "\"time\": %u, \"birth\": %u, \"dropped\": %u}\n",
           kind, address, size, age, stack, task, now, births, wire.dropped);
}

static void alloc(uint64_t address, uint32_t size, uint32_t stack, uint8_t task)
{
    births++;
    ht_wire_alloc(&wire, (uintptr_t)address, size, stack, task, now);
    say("ALLOC", address, size, 0, stack, task);
}

static void free_aged(uint32_t age, uint32_t stack, uint8_t task)
{
    ht_wire_free(&wire, age, stack, task, now);
    say("FREE", 0, 0, age, stack, task);
}

static void free_at(uint64_t address, uint32_t stack, uint8_t task)
{
    ht_wire_free_at(&wire, (uintptr_t)address, stack, task, now);
    say("FREE_AT", address, 0, 0, stack, task);
}

static void moved(uint32_t age, uint64_t address, uint32_t size, uint32_t stack, uint8_t task)
{
    ht_wire_realloc(&wire, age, (uintptr_t)address, size, stack, task, now);
    say("REALLOC", address, size, age, stack, task);
}

static void failed(uint32_t size, uint32_t stack, uint8_t task)
{
    ht_wire_failed(&wire, size, stack, task, now);
    say("FAILED", 0, size, 0, stack, task);
}

static void twice(uint64_t address, uint32_t stack, uint8_t task)
{
    ht_wire_double_free(&wire, (uintptr_t)address, stack, task, now);
    say("DOUBLE_FREE", address, 0, 0, stack, task);
}

static void mark(uint8_t kind, uint32_t number)
{
    ht_wire_mark(&wire, kind, number, now);
    say("MARK", 0, number, 0, 0, kind);
}

/* -- Lists ----------------------------------------------------------------------------------------------------------- */

/* Every width of every field, and what fits none. */
static void scripted(void)
{
    static const uint32_t SIZES[] = {16, 16, 0, 255, 256, 65535, 65536, UINT32_MAX};
    static const uint64_t ADDRESSES[] = {0x20000010, 0x20000010, 0x20000000, 0x20000810, 0x20010010, 0x1ff00010, 0x28000010,
                                         0x10, 0xfffffff0, 0x20000018, 0x20000014, 0x20000001};
    static const uint32_t AGES[] = {0, 1, 255, 256, 65535, 65536, 0xffffff, 0x1000000, UINT32_MAX};
    static const uint32_t STEPS[] = {0, 1, 255, 256, 70000, 0x7fffffff};
    mark(HT_WIRE_WORKLOAD_START, 0);
    for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
        alloc(0x20000000 + 64 * i, SIZES[i], 1, 1);
    }
    drain(9);
    for (size_t i = 0; i < sizeof ADDRESSES / sizeof ADDRESSES[0]; i++) {
        alloc(ADDRESSES[i], 16, 2, 1);
        free_at(ADDRESSES[i], 3, i % 2 ? 1 : 2);
    }
    alloc(0x7f1234567890, 24, 300, 1); /* beyond 32 bits, and back */
    alloc(0x20000000, 24, 300, 1);
    for (size_t i = 0; i < sizeof AGES / sizeof AGES[0]; i++) {
        free_aged(AGES[i], (uint32_t)(i % 3) * 150, (uint8_t)(i % 2));
    }
    for (size_t i = 0; i < sizeof STEPS / sizeof STEPS[0]; i++) {
        now += STEPS[i];
        alloc(0x20000100, 8, 33, 3);
        free_aged(0, 4, 7);
    }
    for (unsigned task = 0; task < 256; task += 51) {
        alloc(0x20000200, 8, 0, (uint8_t)task);
        moved(0, 0x20000300, 80, 5, (uint8_t)task);
        failed(1u << 20, 6, (uint8_t)task);
        twice(0x20000300, 7, (uint8_t)task);
        mark(HT_WIRE_CYCLE, task);
        drain(2);
    }
}

static uint32_t noise;

static uint32_t draw(uint32_t below) /* xorshift: the same on every machine */
{
    noise ^= noise << 13;
    noise ^= noise >> 17;
    noise ^= noise << 5;
    return noise % below;
}

/* A heap of sorts: live blocks with their births; frees of live ones, of unknown ones, moves. The reader is now and then
 * so slow that events are dropped. */
static void made_up(uint32_t events)
{
    struct { uint64_t address; uint32_t birth; } live[LIVE];
    size_t count = 0;
    uint64_t heap = draw(4) == 0 ? 0x7f0012340000 : 0x20000000;
    while (events-- > 0) {
        uint32_t what = draw(100);
        uint32_t stack = draw(10) == 0 ? draw(STACKS + 9) : draw(12);
        uint8_t task = (uint8_t)(draw(8) == 0 ? draw(256) : stack % 5);
        stack = stack < STACKS ? stack : 0;
        now += draw(3) == 0 ? draw(draw(20) == 0 ? 100000 : 300) : 0;
        if (count < LIVE && (what < 45 || count == 0)) {
            uint64_t address = heap + (uint64_t)draw(1u << 16) * 8;
            bool taken = false;
            for (size_t i = 0; i < count; i++) {
                taken = taken || live[i].address == address;
            }
            if (!taken) {
                alloc(address, draw(3) == 0 ? draw(1u << draw(20)) : 32 + stack, stack, task);
                live[count].address = address;
                live[count++].birth = births;
            }
        } else if (what < 95 && count > 0) {
            size_t which = draw((uint32_t)count);
            if (what < 75) {
                free_aged(births - live[which].birth, stack, task);
            } else if (what < 88) {
                free_at(live[which].address, stack, task);
            } else {
                uint64_t to = live[which].address ^ (draw(2) ? 1ull << 23 : 0); /* a half that only moves use */
                moved(births - live[which].birth, to, draw(5000), stack, task);
                live[which].address = to;
                continue;
            }
            live[which] = live[--count];
        } else if (what < 97) {
            failed(draw(1u << 20), stack, task);
        } else {
            mark((uint8_t)draw(20), draw(1000));
        }
        if (draw(50) == 0) {
            ht_wire_flush(&wire);
        }
        if (draw(40) == 0 || (draw(3) == 0 && (noise & 0x400) == 0)) {
            drain(draw(6));
        }
        if (draw(500) == 0) {
            ht_wire_repeat(&wire);
        }
    }
}

/* A reader that is too slow, and then a quiet system: the last that happens finds no room. */
static void full(void)
{
    while (wire.dropped < 5) {
        alloc(0x20000000, 16, 1, 1);
    }
}

/* The player's pattern without its threads: for each round a few blocks that come and go, two that stay. */
static void loop(uint32_t events)
{
    for (uint32_t round = 0; events > 0; round++) {
        for (uint32_t packet = 0; packet < 20 && events > 1; packet++, events -= 2) {
            ht_wire_alloc(&wire, 0x20000000 + 4096 * (packet % 3), 1024, 1 + packet % 4, (uint8_t)(packet % 4), now);
            ht_wire_free(&wire, 0, 5 + packet % 4, (uint8_t)(packet % 4), now);
            now += packet % 2;
        }
        ht_wire_mark(&wire, HT_WIRE_CYCLE, round, now);
        drain(SIZE_MAX);
    }
}

int main(int argc, char *argv[])
{
    begin();
    if (argc == 2 && strcmp(argv[1], "scripted") == 0) {
        scripted();
    } else if (argc == 4 && strcmp(argv[1], "random") == 0) {
        noise = (uint32_t)strtoul(argv[2], NULL, 10) * 2654435769u | 1u;
        made_up((uint32_t)strtoul(argv[3], NULL, 10));
    } else if (argc == 2 && strcmp(argv[1], "full") == 0) {
        full();
    } else if (argc == 2 && strcmp(argv[1], "ended") == 0) {
        mark(HT_WIRE_CYCLE, 1);
        ht_wire_end(&wire);
    } else if (argc == 3 && strcmp(argv[1], "loop") == 0) {
        loop((uint32_t)strtoul(argv[2], NULL, 10));
        ht_wire_flush(&wire);
        drain(SIZE_MAX);
        return fwrite(out, 1, out_bytes, stdout) == out_bytes ? 0 : 1;
    } else {
        return 2;
    }
    ht_wire_flush(&wire);
    drain(SIZE_MAX);
    printf("{\"bytes\": \"");
    for (size_t i = 0; i < out_bytes; i++) {
        printf("%02x", out[i]);
    }
    printf("\"}\n");
    return 0;
}
