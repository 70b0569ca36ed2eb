/* The console: the case's text layout, a compact one, and the sites, one whole line at a time.
 *
 * Layouts (Tina RTOS, memleak.c): `memleak 0` and `memleak show` differ in their indents. Hex is lower case for blocks
 * and upper case for frames, 8 digits; 16 where a value does not fit, where the vendor's would cut it.
 * Lines that the vendor's tracer does not have begin with "    memleak: ", "    heaptrail: " or, compact, with "@".
 */
#include <string.h>

#include "ht_port.h"
#include "ht_stream.h"
#include "ht_text.h"

/* -- Around every dump ------------------------------------------------------------------------------------------- */

void ht_print_identity(struct ht_out *out)
{
    const uint8_t *build = NULL;
    size_t length = ht_port_build_id(&build);
    ht_text(out, " agent=" HT_AGENT_VERSION " build=");
    for (size_t i = 0; i < length && i < 20; i++) {
        const char *digits = "0123456789abcdef";
        ht_text(out, (const char[]){digits[build[i] >> 4], digits[build[i] & 15u], 0});
    }
    ht_text(out, length == 0 ? "none" : "");
}

static void print_begin(struct ht_out *out, const char *what)
{
    ht_totals totals;
    ht_get_totals(&totals);
    ht_begin_sum(out);
    ht_text(out, "    heaptrail: begin ");
    ht_text(out, what);
    ht_text(out, " text=1");
    ht_print_identity(out);
    ht_field(out, " depth=", HT_DEPTH);
    ht_field(out, " pool=", totals.live);
    ht_field(out, "/", totals.capacity);
    ht_field(out, " stacks=", totals.stacks);
    ht_field(out, "/", totals.stack_capacity);
    ht_field(out, " filters=", totals.filters);
    ht_text(out, HT_BLOCK_SIZES ? " sizes=block" : "");
    ht_text(out, totals.paused ? " state=paused" : totals.on ? " state=on" : " state=off");
    ht_end_line(out);
}

/* "    memleak: VALUE WHAT", nothing where there is nothing to say. */
static void note(struct ht_out *out, uint32_t value, const char *what)
{
    if (value != 0) {
        ht_field(out, "    memleak: ", value);
        ht_text(out, what);
        ht_end_line(out);
    }
}

static void full_note(struct ht_out *out, uint32_t value, const char *what, uint32_t capacity, const char *end)
{
    if (value != 0) {
        ht_field(out, "    memleak: ", value);
        ht_field(out, what, capacity);
        ht_text(out, end);
        ht_end_line(out);
    }
}

/* What the records do not show, in words and once more as numbers. `totals` are those at the dump's beginning. */
static void print_end(struct ht_out *out, const char *what, const ht_totals *totals, uint32_t items, uint32_t bytes)
{
    char name[HT_NAME_BYTES];
    for (uint32_t i = 0; ht_get_filter(i, name); i++) {
        ht_text(out, "\t ");
        ht_decimal(out, i + 1, 3);
        ht_text(out, ": filter thread = ");
        ht_text(out, name);
        ht_end_line(out);
    }
    full_note(out, totals->unrecorded, " blocks not recorded (pool of ", totals->capacity, " full)");
    full_note(out, totals->stacks_dropped, " blocks counted under other (table of ", totals->stack_capacity, " stacks full)");
    note(out, totals->free_stacks_dropped, " freeing stacks not kept (table full)");
    note(out, totals->failed, " allocations failed");
    note(out, totals->missed_frees, " blocks freed without a hook");
    note(out, totals->while_paused, " allocations while paused");
    ht_text(out, "    heaptrail: end ");
    ht_text(out, what);
    ht_field(out, " items=", items);
    ht_field(out, " bytes=", bytes);
    ht_field(out, " unrecorded=", totals->unrecorded);
    ht_field(out, " other=", totals->stacks_dropped);
    ht_field(out, " failed=", totals->failed);
    ht_field(out, " missed=", totals->missed_frees);
    ht_field(out, " double=", totals->double_frees);
    ht_field(out, " null=", totals->null_frees);
    ht_field(out, " lines=", out->lines);
    ht_text(out, " sum=");
    ht_upper_hex(out, out->sum); /* of all lines before this one */
    ht_end_line(out);
}

/* -- The vendor's layout ------------------------------------------------------------------------------------------- */

static void print_frames(struct ht_out *out, const ht_stack_copy *stack, const char *before)
{
    for (uint32_t i = 0; i < stack->depth; i++) {
        ht_text(out, before);
        ht_upper_hex(out, stack->frames[i]);
        ht_end_line(out);
    }
}

static void print_stack(struct ht_out *out, uint32_t number, const char *before)
{
    ht_stack_copy stack;
    if (ht_get_stack(number, &stack)) {
        print_frames(out, &stack, before);
    }
}

static void print_misuse(struct ht_out *out)
{
    ht_report report;
    for (size_t i = 0; ht_get_report(i, &report); i++) {
        bool null = report.kind == HT_FREE_NULL;
        ht_text(out, null ? "free null pointer!!!!" : "double free checked!!!!");
        ht_end_line(out);
        print_stack(out, report.stack, "        backtrace : 0x");
        ht_field(out, "    memleak: ", report.count);
        ht_text(out, null ? " frees of null" : " double frees, first of ");
        if (!null) {
            ht_address(out, report.address);
        }
        ht_text(out, ", thread = ");
        ht_text(out, report.thread);
        ht_end_line(out);
        print_stack(out, report.before, "        freed before at 0x");
    }
}

struct layout {
    const char *name, *record, *frame;
};

static const struct layout DUMP_LAYOUT = {"dump", "    ", "        backtrace : 0x"};
static const struct layout SHOW_LAYOUT = {"show", "\t ", "                backtrace : 0x"};

static void print_blocks(struct ht_out *out, const struct layout *layout, bool on)
{
    ht_totals totals;
    ht_cursor cursor = {0};
    ht_block block;
    uint32_t number = 0;
    uint32_t bytes = 0;
    ht_get_totals(&totals);
    ht_begin_blocks(&cursor);
    print_misuse(out);
    while (ht_next_block(&cursor, &block)) {
        bytes += block.requested_bytes;
        ht_text(out, layout->record);
        ht_decimal(out, ++number, 3);
        ht_text(out, ": ptr = ");
        ht_address(out, block.address);
        ht_text(out, ", size = ");
        ht_address(out, block.requested_bytes);
        ht_text(out, ", thread = ");
        ht_text(out, block.thread);
        ht_end_line(out);
        print_stack(out, block.stack, layout->frame);
    }
    if (number == 0) {
        ht_text(out, on ? "    memleak: no live blocks" : "    memleak: off, nothing is recorded");
        ht_end_line(out);
    }
    print_end(out, layout->name, &totals, number, bytes);
}

/* -- The compact layout: each stack and each task once ------------------------------------------------------------- */

#define FRAMES_A_LINE 8u

static void print_site_stack(struct ht_out *out, uint32_t number, const ht_site *site)
{
    for (uint32_t i = 0; i == 0 || i < site->stack.depth; i += FRAMES_A_LINE) {
        ht_field(out, i == 0 ? "@s" : "@+", number);
        for (uint32_t k = i; k < site->stack.depth && k < i + FRAMES_A_LINE; k++) {
            ht_text(out, " ");
            ht_upper_hex(out, site->stack.frames[k]);
        }
        ht_end_line(out);
    }
}

static void print_compact(struct ht_out *out)
{
    ht_totals totals;
    ht_cursor cursor = {0};
    ht_block block;
    ht_site site;
    uint32_t id;
    char name[HT_NAME_BYTES];
    uint32_t items = 0;
    uint32_t bytes = 0;
    ht_get_totals(&totals);
    ht_begin_blocks(&cursor); /* blocks from here on are left out, so the tables below hold all that is needed */
    print_misuse(out);
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        if (site.live != 0) {
            print_site_stack(out, i, &site);
        }
    }
    for (uint32_t i = 0; i <= HT_THREADS; i++) {
        if (ht_get_thread(i, &id, name)) {
            ht_field(out, "@t", i);
            ht_field(out, " ", id);
            ht_text(out, " ");
            ht_text(out, name);
            ht_end_line(out);
        }
    }
    while (ht_next_block(&cursor, &block)) {
        items++;
        bytes += block.requested_bytes;
        ht_text(out, "@b ");
        ht_upper_hex(out, block.address);
        ht_text(out, " ");
        ht_short_hex(out, block.requested_bytes);
        ht_field(out, " ", block.overhead_bytes);
        ht_field(out, " s", block.site);
        ht_field(out, " t", block.thread_number);
        ht_field(out, " q", block.sequence);
        ht_end_line(out);
    }
    print_end(out, "compact", &totals, items, bytes);
}

/* -- Sites --------------------------------------------------------------------------------------------------------- */

static void print_sites(struct ht_out *out)
{
    ht_totals totals;
    ht_site site;
    uint32_t items = 0;
    uint32_t bytes = 0;
    ht_get_totals(&totals);
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        if (site.allocs == 0 && site.failed == 0) {
            continue;
        }
        items++;
        bytes += site.live_bytes;
        ht_text(out, "    site ");
        ht_decimal(out, i, 3);
        ht_field(out, ": live = ", site.live);
        ht_field(out, ", bytes = ", site.live_bytes);
        ht_field(out, ", allocs = ", site.allocs);
        ht_field(out, ", frees = ", site.frees);
        ht_field(out, ", failed = ", site.failed);
        ht_field(out, ", unrecorded = ", site.unrecorded);
        ht_field(out, ", first = ", site.first_birth);
        ht_field(out, ", last = ", site.last_birth);
        ht_field(out, ", oldest = ", site.oldest_death);
        ht_text(out, i == HT_SITE_OTHER ? ", other" : i == HT_SITE_NO_STACK ? ", no stack" : "");
        ht_end_line(out);
        print_frames(out, &site.stack, "        at 0x");
        print_stack(out, site.freed_by, "        freed at 0x");
    }
    print_end(out, "sites", &totals, items, bytes);
}

/* -- Commands ------------------------------------------------------------------------------------------------------ */

#if HT_STREAM
#define STREAM_USAGE "/stream/stream 0"
#define END_STREAM() ((void)ht_console_stream_end())
#else
#define STREAM_USAGE ""
#define END_STREAM() ((void)0)
#endif

static bool is(int argc, const char *const argv[], int count, const char *second, const char *third)
{
    return argc == count && strcmp(argv[1], second) == 0 && (count < 3 || strcmp(argv[2], third) == 0);
}

bool ht_console(int argc, const char *const argv[], ht_put put, void *context)
{
    struct ht_out out = {.put = put, .context = context};
    if (argc > 1 && strcmp(argv[1], "1") == 0 && ht_start(argv + 2, (size_t)(argc - 2))) {
        return true;
    }
    if (is(argc, argv, 2, "0", NULL)) {
        ht_totals totals;
        ht_get_totals(&totals);
        END_STREAM();
        print_begin(&out, DUMP_LAYOUT.name);
        ht_stop(); /* before the first block: the dump is of this moment, and printing may itself free */
        print_blocks(&out, &DUMP_LAYOUT, totals.on);
        ht_clear();
        return true;
    }
    if (is(argc, argv, 2, "show", NULL)) {
        ht_totals totals;
        ht_get_totals(&totals);
        print_begin(&out, SHOW_LAYOUT.name);
        print_blocks(&out, &SHOW_LAYOUT, totals.on);
        return true;
    }
    if (is(argc, argv, 3, "show", "compact")) {
        print_begin(&out, "compact");
        print_compact(&out);
        return true;
    }
    if (is(argc, argv, 2, "sites", NULL)) {
        print_begin(&out, "sites");
        print_sites(&out);
        return true;
    }
    if (is(argc, argv, 2, "pause", NULL) || is(argc, argv, 2, "resume", NULL)) {
        bool done = argv[1][0] == 'p' ? ht_pause() : ht_resume();
        ht_text(&out, done ? "    memleak: " : "    memleak: nothing to ");
        ht_text(&out, argv[1]);
        ht_text(&out, done ? "d" : "");
        ht_end_line(&out);
        return true;
    }
#if HT_STREAM
    if (is(argc, argv, 2, "stream", NULL) || is(argc, argv, 3, "stream", "0")) {
        ht_console_stream(&out, argc == 2);
        return true;
    }
#endif
    ht_text(&out, "Usage: memleak [<1/0/show/show compact/sites/pause/resume" STREAM_USAGE ">] [<thread_name1> <thread_name2> <thread_name3>]");
    ht_end_line(&out);
    return false;
}
