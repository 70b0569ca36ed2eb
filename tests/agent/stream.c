/* `memleak stream` on a console of one line: text and frames as they would leave the board, on standard output.
 *
 * usage: stream SCRIPT; the scripts are below. */
#define HT_RECORDS 8
#define HT_SITES 8
#define HT_DEPTH 4
#define HT_STREAM 1
#define HT_STREAM_FRAMES 2
#define HT_SHOWN_ADDRESS(ret) (ret) /* the fake stacks below are addresses of no code */
#include "../../agent/src/ht_agent.c"
#include "../../agent/src/ht_build_id.c"
#include "../../agent/src/ht_console.c"
#include "../../agent/src/ht_control.c"
#include "../../agent/src/ht_dumps.c"
#include "../../agent/src/ht_read.c"
#include "../../agent/src/ht_stacks.c"
#include "../../agent/src/ht_store.c"
#include "../../agent/src/ht_stream_console.c"
#include "../../agent/src/ht_text.c"

#include <stdio.h>

#include "check.h"

static int locks;

uintptr_t ht_port_lock(void)
{
    CHECK(locks++ == 0);
    return 0x10c4;
}

void ht_port_unlock(uintptr_t saved)
{
    CHECK(saved == 0x10c4 && --locks == 0);
}

uint32_t ht_port_thread_id(void) { return 50; }
const char *ht_port_thread_name(void) { return "AudioRender"; }

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    (void)frame, (void)ret;
    CHECK(max >= 2);
    pcs[0] = 0x08336aee;
    pcs[1] = 0x08396d52;
    return 2;
}

static void put(void *context, const char *text)
{
    (void)context;
    CHECK(locks == 0);
    (void)fputs(text, stdout);
}

/* The board's UART. In the middle of a frame it may be asked for another one: a second task that pumps as well. */
static void write_raw(void *context, const uint8_t *bytes, size_t count)
{
    CHECK(locks == 0 && context == &locks);
    CHECK(!ht_stream_pump(true));
    (void)fwrite(bytes, 1, count, stdout);
}

static bool type(int argc, const char *first, const char *second)
{
    const char *argv[] = {"memleak", first, second, NULL};
    return ht_console(argc, argv, put, NULL);
}

static void play(uintptr_t rounds)
{
    for (uintptr_t i = 0; i < rounds; i++) {
        ht_on_malloc((void *)(0x08700000 + 64 * (i % 2)), 40, 0);
        ht_on_free_by((void *)(0x08700000 + 64 * (i % 2)), (void *)0x1);
    }
}

static void streamed(void)
{
    CHECK(type(2, "stream", NULL));
    play(5);
    CHECK(ht_stream_pump(true));
    put(NULL, "playback rou");
    play(3);
    while (ht_stream_pump(true)) {
    }
    put(NULL, "nd 1 complete\n");
    ht_on_malloc((void *)0x08701000, 77, 0);
    CHECK(type(3, "stream", "0"));
    CHECK(type(3, "stream", "0")); /* says that there is none */
    play(1);                        /* recorded, and not streamed */
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.on && totals.live == 1 && totals.allocs == 10);
}

/* Nobody pumps, so that the ring overflows and the last that happens is dropped. */
static void overflowed(void)
{
    CHECK(type(2, "stream", NULL));
    play(500);
    CHECK(type(3, "stream", "0"));
}

static void ended_by_memleak_0(void)
{
    CHECK(type(2, "stream", NULL));
    play(2);
    CHECK(type(2, "0", NULL));
    CHECK(!ht_stream_pump(true));
}

/* A second `memleak stream`: the reader is new. */
static void asked_twice(void)
{
    CHECK(type(2, "stream", NULL));
    play(2);
    while (ht_stream_pump(true)) {
    }
    CHECK(type(2, "stream", NULL));
    CHECK(type(3, "stream", "0"));
}

static void nowhere(void)
{
    ht_stream_output(NULL, NULL);
    CHECK(type(2, "stream", NULL));
    CHECK(!ht_stream_pump(true));
}

static void elsewhere(void)
{
    uint8_t frame[HT_WIRE_FRAME_BYTES];
    ht_stream_begin();
    CHECK(type(2, "stream", NULL));
    CHECK(!ht_stream_pump(true) && ht_stream_take(frame, true) != 0);
}

/* The tables are cleared while the last frames still wait: they go, for their definitions are gone. */
static void cleared_at_the_end(void)
{
    uint8_t frame[HT_WIRE_FRAME_BYTES];
    CHECK(ht_start(NULL, 0));
    ht_stream_begin();
    play(2);
    ht_stream_end();
    ht_clear();
    CHECK(ht_stream_take(frame, true) == 0);
}

static void before_each(void) { ht_stream_output(write_raw, &locks); }
static void after_each(void) { CHECK(locks == 0); }

#define TEST(name) {#name, name}

int main(int argc, char *argv[])
{
    static const struct named_test TESTS[] = {
        TEST(streamed),
        TEST(overflowed),
        TEST(ended_by_memleak_0),
        TEST(asked_twice),
        TEST(nowhere),
        TEST(elsewhere),
        TEST(cleared_at_the_end),
    };
    return run_named(argc, argv, TESTS, sizeof TESTS / sizeof TESTS[0], before_each, after_each);
}
