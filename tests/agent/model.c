/* The agent with tiny tables, driven by a list of operations; after each it says all that can be read of it. The plain
 * reference that this is compared with is test_model.py.
 *
 * usage: model [stream] < operations
 * An operation is a letter and five numbers:
 *   m ADDRESS SIZE OVER STACK TASK    r OLD NEW SIZE STACK TASK    f ADDRESS CALLER STACK TASK 0
 *   s FILTERS BORN 0 0 0 (start)      p, u, x, c (pause, resume, stop, clear)
 *   b (the next backtrace fails)      q before any of them: it comes in the middle of the next backtrace, as an interrupt
 * After each operation one JSON object; with `stream` a last one with the stream's bytes.
 */
#define HT_RECORDS 8
#define HT_SITES 6
#define HT_DEPTH 4
#define HT_STACKS 7
#define HT_FRAMES 16
#define HT_THREADS 3
#define HT_FILTERS 4
#define HT_FREED 8
#define HT_REPORTS 2
#define HT_STREAM 1
#define HT_STREAM_FRAMES 64
#define HT_SHOWN_ADDRESS(ret) (ret) /* the fake stacks below are addresses of no code */
#include "../../agent/src/ht_agent.c"
#include "../../agent/src/ht_build_id.c"
#include "../../agent/src/ht_control.c"
#include "../../agent/src/ht_read.c"
#include "../../agent/src/ht_stacks.c"
#include "../../agent/src/ht_store.c"
#include "../../agent/src/ht_stream.c"

#include <inttypes.h>

#include "check.h"

struct operation {
    char kind;
    unsigned long value[5];
};

static int locks;
static unsigned long task, stack;
static bool fails, pending;
static struct operation interrupt;
static unsigned long context; /* within which hook's backtrace an interrupt came; 0: within none */

uintptr_t ht_port_lock(void)
{
    CHECK(locks++ == 0);
    return 0x10c4;
}

void ht_port_unlock(uintptr_t saved) { CHECK(saved == 0x10c4 && --locks == 0); }

uint32_t ht_port_thread_id(void)
{
    CHECK(locks == 1);
    return context != 0 ? HT_ID_ISR : (uint32_t)task;
}

const char *ht_port_thread_name(void)
{
    static const char *const NAMES[] = {"", "AudioRender", "Demux", NULL, "Tmr Svc", "XPlayer"};
    CHECK(locks == 1);
    return NAMES[task];
}

static void run(const struct operation *operation, unsigned long within);

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    CHECK(locks == 0 && frame != NULL && ret != 0 && max == HT_DEPTH);
    unsigned long mine = stack;
    bool failing = fails;
    fails = false;
    if (pending) {
        unsigned long my_task = task;
        pending = false;
        run(&interrupt, 1);
        task = my_task;
        context = 0;
    }
    size_t depth = failing ? 0 : mine % 5;
    for (size_t i = 0; i < depth; i++) {
        pcs[i] = i == 0 ? 0xa0 : 0x1000 * mine + i;
    }
    return depth;
}

static void start(unsigned long filters, unsigned long born)
{
    static const char *const NAMES[] = {"AudioRender", "Demux", "(null)", "ISR"};
    const char *names[4];
    size_t count = 0;
    for (int i = 0; i < 4; i++) {
        if ((filters >> i & 1u) != 0) {
            names[count++] = NAMES[i];
        }
    }
    CHECK(ht_start(names, count));
    ht.born = (uint32_t)born;
}

static void run(const struct operation *operation, unsigned long within)
{
    const unsigned long *v = operation->value;
    context = within;
    task = v[operation->kind == 'f' ? 3 : 4];
    stack = v[operation->kind == 'f' ? 2 : 3];
    switch (operation->kind) {
    case 'm':
        ht_on_malloc((void *)v[0], v[1], v[0] == 0 || v[2] == 0 ? 0 : v[1] + v[2]);
        break;
    case 'r':
        ht_on_realloc((void *)v[0], (void *)v[1], v[2], 0);
        break;
    case 'f':
        ht_on_free_by((void *)v[0], (void *)(v[1] + 0x100 * within));
        break;
    case 's':
        start(v[0], v[1]);
        break;
    case 'p':
        (void)ht_pause();
        break;
    case 'u':
        (void)ht_resume();
        break;
    case 'x':
        ht_stop();
        break;
    case 'c':
        ht_clear();
        break;
    case 'b':
        fails = true;
        break;
    default:
        CHECK(!"an operation");
    }
}

/* -- What can be read ----------------------------------------------------------------------------------------------- */

static void say_stack(const char *name, const ht_stack_copy *said)
{
    (void)printf(", \"%s\": [", name);
    for (uint32_t i = 0; i < said->depth; i++) {
        (void)printf("%s%" PRIuPTR, i == 0 ? "" : ", ", said->frames[i]);
    }
    (void)printf("]");
}

static void say_sites(void)
{
    ht_site site;
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        ht_stack_copy freed = {0};
        (void)ht_get_stack(site.freed_by, &freed);
        (void)printf("%s{\"counts\": [%u, %u, %u, %u, %u, %u, %u, %u, %u]", i == 0 ? "" : ", ", site.live, site.live_bytes,
                     site.allocs, site.frees, site.failed, site.unrecorded, site.first_birth, site.last_birth,
                     site.oldest_death);
        say_stack("stack", &site.stack);
        say_stack("freed_by", &freed);
        (void)printf("}");
    }
}

static void say(void)
{
    ht_totals t;
    ht_cursor cursor = {0};
    ht_block block;
    ht_get_totals(&t);
    (void)printf("{\"on\": %d, \"paused\": %d, \"totals\": {\"live\": %u, \"unrecorded\": %u, \"stacks\": %u, \"dropped\": %u, "
                 "\"free_dropped\": %u, \"failed\": %u, \"missed\": %u, \"paused\": %u, \"nulls\": %u, \"allocs\": %u, "
                 "\"frees\": %u}, \"unknown\": %u, \"doubles\": %u, \"blocks\": [",
                 t.on, t.paused, t.live, t.unrecorded, t.stacks, t.stacks_dropped, t.free_stacks_dropped, t.failed,
                 t.missed_frees, t.while_paused, t.null_frees, t.allocs, t.frees, t.unknown_frees, t.double_frees);
    for (bool first = true; ht_next_block(&cursor, &block); first = false) {
        (void)printf("%s[%" PRIuPTR ", %u, %u, %u, %u, \"%s\"]", first ? "" : ", ", block.address, block.requested_bytes,
                     block.overhead_bytes, block.sequence, block.site, block.thread);
    }
    (void)printf("], \"sites\": [");
    say_sites();
    (void)printf("]}\n");
}

static void say_stream(void)
{
    uint8_t frame[HT_WIRE_FRAME_BYTES];
    ht_stream_end();
    (void)printf("{\"bytes\": \"");
    for (size_t bytes; (bytes = ht_stream_take(frame, true)) != 0;) {
        for (size_t i = 0; i < bytes; i++) {
            (void)printf("%02x", frame[i]);
        }
    }
    (void)printf("\"}\n");
}

int main(int argc, char *argv[])
{
    bool streams = argc == 2 && strcmp(argv[1], "stream") == 0;
    struct operation next;
    char kind[3];
    ht_clear();
    if (streams) {
        ht_stream_begin();
    }
    while (scanf("%2s %lu %lu %lu %lu %lu", kind, &next.value[0], &next.value[1], &next.value[2], &next.value[3],
                 &next.value[4]) == 6) {
        next.kind = kind[0] == 'q' ? kind[1] : kind[0];
        if (kind[0] == 'q') {
            interrupt = next;
            pending = true;
        } else {
            run(&next, 0);
        }
        CHECK(locks == 0);
        say();
    }
    if (streams) {
        say_stream();
    }
    CHECK(locks == 0);
    return 0;
}
