/* One run of everything the agent does, again and again, on a port that fails at its first call, at its second, and so on:
 * once, and from there on.
 *
 * usage: failing FAULT. What the console and the stream said, run after run, is on standard output. */
#include "check.h"
#include "ht_agent.h"
#include "ht_port.h"
#include "ht_stream.h"

/* -- The port ------------------------------------------------------------------------------------------------------ */

enum call { BACKTRACE, THREAD_ID, THREAD_NAME, BUILD_ID, TICKS, TICKS_PER_S, LOCK, CALLS };

struct fault {
    const char *name;
    enum call call;
    int how;
};

static struct {
    const struct fault *fault; /* NULL: none */
    unsigned at, calls[CALLS]; /* the call that fails; calls so far */
    bool onward;               /* and all that follow */
    int locks;
    uintptr_t taken; /* what the lock gave last: another value each time */
    bool in_interrupt;
    uint32_t task, time;
    uintptr_t caller;
} port;

static char *short_field, *long_name; /* of exactly their size, for the sanitizer to watch over */
static uint8_t *build;

/* How the coming call fails; 0: it does not. */
static int how_fails(enum call call)
{
    unsigned number = ++port.calls[call];
    bool now = port.fault != NULL && port.fault->call == call && (number == port.at || (port.onward && number > port.at));
    return now ? port.fault->how : 0;
}

enum { AN_INTERRUPT = 1 };
static void interrupt(void)
{
    port.in_interrupt = true;
    ht_on_malloc((void *)0x08790000, 12, 0);
    ht_on_free_by((void *)0x08790000, (void *)0x15);
    port.in_interrupt = false;
}

uintptr_t ht_port_lock(void)
{
    CHECK(port.locks == 0);
    if (!port.in_interrupt && how_fails(LOCK) == AN_INTERRUPT) {
        interrupt(); /* the last moment at which one can come */
    }
    CHECK(port.locks++ == 0);
    return port.taken += 7;
}

void ht_port_unlock(uintptr_t saved)
{
    CHECK(saved == port.taken);
    CHECK(--port.locks == 0);
}

enum { NEVER_SEEN = 1, AN_ISR, START_UP };
uint32_t ht_port_thread_id(void)
{
    CHECK(port.locks == 1);
    if (port.in_interrupt) {
        return HT_ID_ISR;
    }
    int how = how_fails(THREAD_ID);
    return how == NEVER_SEEN ? 0x7f000000u + port.calls[THREAD_ID]
           : how == AN_ISR   ? HT_ID_ISR
           : how == START_UP ? HT_ID_STARTUP
                             : port.task;
}

enum { NO_NAME = 1, NO_END, LONG, EMPTY, NO_LETTERS };
const char *ht_port_thread_name(void)
{
    CHECK(port.locks == 1);
    switch (how_fails(THREAD_NAME)) {
    case NO_NAME:
        return NULL;
    case NO_END:
        return short_field;
    case LONG:
        return long_name;
    case EMPTY:
        return "";
    case NO_LETTERS:
        return "\xff\xfe\xf0\x80";
    default:
        return port.task == 1 ? "AudioRender" : "AudioDecode";
    }
}

enum { NO_STACK = 1, GARBAGE, ONE_FRAME, ONE_TOO_MANY, FAR_TOO_MANY };
size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    CHECK(port.locks == 0 && max == HT_DEPTH && frame != NULL && ret != 0);
    switch (port.in_interrupt ? 0 : how_fails(BACKTRACE)) {
    case NO_STACK:
        return 0;
    case GARBAGE:
        for (size_t i = 0; i < max; i++) {
            pcs[i] = (UINTPTR_MAX / 3) * (port.calls[BACKTRACE] + i);
        }
        return max;
    case ONE_FRAME:
        pcs[0] = UINTPTR_MAX;
        return 1;
    case ONE_TOO_MANY: /* as snprintf does it: what there would have been, and `max` of it written */
        for (size_t i = 0; i < max; i++) {
            pcs[i] = 0x08300000 + 2 * i;
        }
        return max + 1;
    case FAR_TOO_MANY:
        return SIZE_MAX;
    default:
        pcs[0] = 0x08336aee;
        pcs[1] = port.caller;
        return 2;
    }
}

enum { NO_BUILD = 1, NO_BYTES, LONG_BUILD };
size_t ht_port_build_id(const uint8_t **bytes)
{
    switch (how_fails(BUILD_ID)) {
    case NO_BUILD:
        return 0;
    case NO_BYTES:
        *bytes = NULL;
        return 20;
    case LONG_BUILD:
        *bytes = build; /* 20 bytes, of which all that anybody prints is there */
        return 64;
    default:
        *bytes = build;
        return 20;
    }
}

enum { STUCK = 1, A_JUMP, BACK };
uint32_t ht_port_ticks(void)
{
    CHECK(port.locks == 1);
    switch (how_fails(TICKS)) {
    case STUCK:
        return port.time;
    case A_JUMP:
        return port.time += 0x70000001u;
    case BACK:
        return port.time -= 0x1000u;
    default:
        return port.time += 40; /* and it wraps in the course of each run */
    }
}

enum { NO_RATE = 1, WILD_RATE };
uint32_t ht_port_ticks_per_s(void)
{
    int how = how_fails(TICKS_PER_S);
    return how == NO_RATE ? 0 : how == WILD_RATE ? UINT32_MAX : 1000;
}

/* -- What is run ----------------------------------------------------------------------------------------------------- */

static void put(void *context, const char *text)
{
    (void)context;
    CHECK(port.locks == 0);
    (void)fputs(text, stdout);
}

static void write_raw(void *context, const uint8_t *bytes, size_t count)
{
    CHECK(port.locks == 0 && context == &port);
    (void)fwrite(bytes, 1, count, stdout);
}

static void type(const char *first, const char *second)
{
    const char *argv[] = {"memleak", first, second, NULL};
    CHECK(ht_console(second != NULL ? 3 : 2, argv, put, NULL));
}

static void *block(unsigned number) { return (void *)(uintptr_t)(0x08700000 + 64 * number); }

static void alloc(unsigned number, uintptr_t caller)
{
    port.caller = caller;
    ht_on_malloc(block(number), 40 + number, 0);
}

static void release(void *address, uintptr_t caller)
{
    port.caller = caller;
    ht_on_free_by(address, (void *)caller);
}

/* Not until nothing waits: where an interrupt comes at every call, there is always more. */
static void pump(void)
{
    for (int i = 0; i < 6 && ht_stream_pump(true); i++) {
    }
}

static void workload(const char *filter)
{
    type("1", filter);
    type("stream", NULL);
    for (unsigned i = 1; i <= 3; i++) {
        alloc(i, 0x08396d50 + 2 * i);
    }
    ht_on_malloc(NULL, 4096, 0);
    ht_on_realloc(block(1), block(11), 60, 0);
    release(block(2), 0x08446850);
    release(block(2), 0x08446860);
    release(NULL, 0x08446870);
    release(block(40), 0x08446880);
    pump();
    ht_stream_mark(HT_WIRE_CYCLE, 1);
    port.task = 2;
    alloc(4, 0x08396d52);
    type("show", NULL);
    alloc(5, 0x08396d60);
    type("pause", NULL);
    alloc(6, 0x08396d60);
    release(block(3), 0x08446850);
    type("resume", NULL);
    type("show", "compact");
    type("sites", NULL);
    port.task = 1;
    alloc(7, 0x08396d52);
    release(block(7), 0x08446850);
    type("stream", NULL); /* all definitions again */
    type("stream", "0");
}

/* -- What holds whatever the port does ------------------------------------------------------------------------------- */

static uint32_t live_at_all_sites(void)
{
    uint32_t live = 0;
    ht_site site;
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        CHECK(site.allocs == site.frees + site.live + site.unrecorded && site.stack.depth <= HT_DEPTH);
        live += site.live;
    }
    return live;
}

static void listed(const unsigned *numbers, size_t count)
{
    ht_cursor cursor = {0};
    ht_block found;
    for (size_t i = 0; i < count; i++) {
        CHECK(ht_next_block(&cursor, &found));
        CHECK(found.address == (uintptr_t)block(numbers[i]));
        CHECK(found.requested_bytes == (numbers[i] == 11 ? 60 : 40 + numbers[i]));
    }
    CHECK(!ht_next_block(&cursor, &found));
}

/* No fault loses a block, a free or a misuse; with a filter it depends on the name and number of the task who counts. */
static void nothing_is_lost(bool filtered)
{
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.on && !totals.paused && totals.live == live_at_all_sites() && totals.unrecorded == 0);
    CHECK(totals.missed_frees == 0 && totals.null_frees == 1 && totals.double_frees <= 1 && totals.while_paused >= 1);
    CHECK(totals.allocs == totals.frees + totals.live);
    if (!filtered) {
        listed((const unsigned[]){5, 4, 11}, 3);
        CHECK(totals.failed == 1 && totals.double_frees == 1 && totals.unknown_frees >= 1);
    } else if (port.fault == NULL) {
        listed((const unsigned[]){11}, 1);
    }
}

static void run(const struct fault *fault, unsigned at, bool onward, const char *filter)
{
    memset(&port, 0, sizeof port);
    port.fault = fault;
    port.at = at;
    port.onward = onward;
    port.task = 1;
    port.time = UINT32_MAX - 200;
    workload(filter);
    nothing_is_lost(filter != NULL);
    type("0", NULL);
    CHECK(port.locks == 0 && !ht_stream_pump(true));
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.live == 0 && !totals.on);
}

static void run_at_each_call(const struct fault *fault, const char *filter)
{
    run(NULL, 0, false, filter);
    unsigned calls = port.calls[fault->call];
    CHECK(calls != 0);
    for (unsigned at = 1; at <= calls; at++) {
        run(fault, at, false, filter);
        run(fault, at, true, filter);
    }
    (void)fprintf(stderr, "%s %u\n", fault->name, calls);
}

#define FAULT(name, call, how) {#name, call, how}

int main(int argc, char *argv[])
{
    static const struct fault FAULTS[] = {
        FAULT(backtrace_has_no_stack, BACKTRACE, NO_STACK),
        FAULT(backtrace_is_garbage, BACKTRACE, GARBAGE),
        FAULT(backtrace_is_one_frame, BACKTRACE, ONE_FRAME),
        FAULT(backtrace_is_one_too_long, BACKTRACE, ONE_TOO_MANY),
        FAULT(backtrace_is_far_too_long, BACKTRACE, FAR_TOO_MANY),
        FAULT(task_was_never_seen, THREAD_ID, NEVER_SEEN),
        FAULT(task_is_an_interrupt, THREAD_ID, AN_ISR),
        FAULT(task_is_none_yet, THREAD_ID, START_UP),
        FAULT(name_is_null, THREAD_NAME, NO_NAME),
        FAULT(name_has_no_end, THREAD_NAME, NO_END),
        FAULT(name_is_long, THREAD_NAME, LONG),
        FAULT(name_is_empty, THREAD_NAME, EMPTY),
        FAULT(name_is_no_text, THREAD_NAME, NO_LETTERS),
        FAULT(build_id_is_absent, BUILD_ID, NO_BUILD),
        FAULT(build_id_has_no_bytes, BUILD_ID, NO_BYTES),
        FAULT(build_id_is_long, BUILD_ID, LONG_BUILD),
        FAULT(ticks_stand_still, TICKS, STUCK),
        FAULT(ticks_jump, TICKS, A_JUMP),
        FAULT(ticks_go_back, TICKS, BACK),
        FAULT(rate_is_not_known, TICKS_PER_S, NO_RATE),
        FAULT(rate_is_wild, TICKS_PER_S, WILD_RATE),
        FAULT(interrupt_before_the_lock, LOCK, AN_INTERRUPT),
    };
    short_field = malloc(HT_NAME_BYTES - 1);
    long_name = malloc(200);
    build = malloc(20);
    CHECK(short_field != NULL && long_name != NULL && build != NULL);
    memset(short_field, 'x', HT_NAME_BYTES - 1);
    memset(long_name, 'y', 199);
    long_name[199] = 0;
    memset(build, 0xb1, 20);
    ht_stream_output(write_raw, &port);
    int found = 2;
    for (size_t i = 0; i < sizeof FAULTS / sizeof FAULTS[0] && argc == 2; i++) {
        if (strcmp(argv[1], FAULTS[i].name) == 0) {
            run_at_each_call(&FAULTS[i], NULL);
            run_at_each_call(&FAULTS[i], "AudioRender");
            found = 0;
        }
    }
    free(short_field);
    free(long_name);
    free(build);
    return found;
}
