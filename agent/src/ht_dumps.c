/* What the console lists: blocks in the case's layout or a compact one, and the sites, one whole line at a time.
 *
 * Layouts (Tina RTOS, memleak.c): `memleak 0` and `memleak show` differ in their indents. Hex is lower case for blocks
 * and upper case for frames, 8 digits; 16 where a value does not fit, where the vendor's would cut it.
 * Lines that the vendor's tracer does not have begin with "    memleak: ", "    heaptrail: " or, compact, with "@".
 */
#include "ht_text.h"

#if HT_DUMPS

/* -- Around every dump ------------------------------------------------------------------------------------------- */

/* One dump while it is printed. `totals` are those of its beginning. */
struct dump {
    struct ht_out *out;
    const char *what;
    ht_totals totals;
    uint32_t items, bytes; /* what the end line says of it */
};

static void print_begin(struct dump *dump)
{
    struct ht_out *out = dump->out;
    ht_get_totals(&dump->totals);
    ht_begin_sum(out);
    ht_text(out, "    heaptrail: begin ");
    ht_text(out, dump->what);
    ht_text(out, " text=1");
    ht_print_identity(out);
    ht_field(out, " depth=", HT_DEPTH);
    ht_fields(out, " pool=\0/\0 stacks=\0/\0 filters=\0", &dump->totals.live);
    ht_text(out, HT_BLOCK_SIZES ? " sizes=block" : "");
    ht_text(out, dump->totals.paused ? " state=paused" : dump->totals.on ? " state=on" : " state=off");
    ht_end_line(out);
}

/* "    memleak: VALUE WHAT [CAPACITY END]", nothing where there is nothing to say. */
static void note(struct ht_out *out, uint32_t value, const char *what, uint32_t capacity, const char *end)
{
    if (value != 0) {
        ht_field(out, "    memleak: ", value);
        if (end != NULL) {
            ht_field(out, what, capacity);
            what = end;
        }
        ht_text(out, what);
        ht_end_line(out);
    }
}

/* What the records do not show, in words and once more as numbers. */
static void print_end(const struct dump *dump)
{
    struct ht_out *out = dump->out;
    const ht_totals *totals = &dump->totals;
    char name[HT_NAME_BYTES];
    for (uint32_t i = 0; ht_get_filter(i, name); i++) {
        ht_text(out, "\t ");
        ht_decimal(out, i + 1, 3);
        ht_text(out, ": filter thread = ");
        ht_text(out, name);
        ht_end_line(out);
    }
    note(out, totals->unrecorded, " blocks not recorded (pool of ", totals->capacity, " full)");
    note(out, totals->stacks_dropped, " blocks counted under other (table of ", totals->stack_capacity, " stacks full)");
    note(out, totals->free_stacks_dropped, " freeing stacks not kept (table full)", 0, NULL);
    note(out, totals->failed, " allocations failed", 0, NULL);
    note(out, totals->missed_frees, " blocks freed without a hook", 0, NULL);
    note(out, totals->while_paused, " allocations while paused", 0, NULL);
    ht_text(out, "    heaptrail: end ");
    ht_text(out, dump->what);
    ht_fields(out, " items=\0 bytes=\0", &dump->items);
    ht_fields(out, " unrecorded=\0 other=\0 failed=\0 missed=\0 double=\0 null=\0", &totals->unrecorded);
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

static void print_blocks(struct dump *dump, const char *before_record, const char *before_frame)
{
    struct ht_out *out = dump->out;
    ht_cursor cursor = {0};
    ht_block block;
    ht_begin_blocks(&cursor);
    print_misuse(out);
    while (ht_next_block(&cursor, &block)) {
        dump->bytes += block.requested_bytes;
        ht_text(out, before_record);
        ht_decimal(out, ++dump->items, 3);
        ht_text(out, ": ptr = ");
        ht_address(out, block.address);
        ht_text(out, ", size = ");
        ht_address(out, block.requested_bytes);
        ht_text(out, ", thread = ");
        ht_text(out, block.thread);
        ht_end_line(out);
        print_stack(out, block.stack, before_frame);
    }
    if (dump->items == 0) {
        ht_text(out, dump->totals.on ? "    memleak: no live blocks" : "    memleak: off, nothing is recorded");
        ht_end_line(out);
    }
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

static void print_compact(struct dump *dump)
{
    struct ht_out *out = dump->out;
    ht_cursor cursor = {0};
    ht_block block;
    ht_site site;
    uint32_t id;
    char name[HT_NAME_BYTES];
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
        dump->items++;
        dump->bytes += block.requested_bytes;
        ht_text(out, "@b ");
        ht_upper_hex(out, block.address);
        ht_text(out, " ");
        ht_short_hex(out, block.requested_bytes);
        ht_fields(out, " \0 s\0 t\0 q\0", &block.overhead_bytes);
        ht_end_line(out);
    }
}

/* -- Sites --------------------------------------------------------------------------------------------------------- */

static void print_sites(struct dump *dump)
{
    struct ht_out *out = dump->out;
    ht_site site;
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        if (site.allocs == 0 && site.failed == 0) {
            continue;
        }
        dump->items++;
        dump->bytes += site.live_bytes;
        ht_text(out, "    site ");
        ht_decimal(out, i, 3);
        ht_fields(out, ": live = \0, bytes = \0, allocs = \0, frees = \0, failed = \0, unrecorded = \0, first = \0, last = \0, "
                       "oldest = \0", &site.live);
        ht_text(out, i == HT_SITE_OTHER ? ", other" : i == HT_SITE_NO_STACK ? ", no stack" : "");
        ht_end_line(out);
        print_frames(out, &site.stack, "        at 0x");
        print_stack(out, site.freed_by, "        freed at 0x");
    }
}

void ht_print_dump(struct ht_out *out, enum ht_dump which)
{
    static const char *const WHAT[] = {"dump", "show", "compact", "sites"};
    struct dump dump = {.out = out, .what = WHAT[which]};
    print_begin(&dump);
    if (which == HT_DUMP_SITES) {
        print_sites(&dump);
    } else if (which == HT_DUMP_COMPACT) {
        print_compact(&dump);
    } else if (which == HT_DUMP_SHOW) {
        print_blocks(&dump, "\t ", "                backtrace : 0x");
    } else {
        ht_stop(); /* before the first block: the dump is of this moment, and printing may itself free */
        print_blocks(&dump, "    ", "        backtrace : 0x");
    }
    print_end(&dump);
}

#else
typedef int ht_dumps_are_off; /* a translation unit must not be empty */
#endif
