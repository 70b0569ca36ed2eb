/* The console: the case's text layouts, formatted without printf, one whole line at a time.
 *
 * Layouts (Tina RTOS, memleak.c): `memleak 0` and `memleak show` differ in their indents. Hex is lower case for blocks
 * and upper case for frames, 8 digits; 16 where a value does not fit, where the vendor's would cut it.
 * Lines that the vendor's tracer does not have begin with "    memleak: ".
 */
#include "ht_agent.h"

#include <string.h>

#define LINE_BYTES 160

struct out {
    ht_put put;
    void *context;
    size_t used;
    char line[LINE_BYTES];
};

static void text(struct out *out, const char *string)
{
    /* Room for the line end and the closing zero is kept back: a long task name is cut, not the line end. */
    while (*string != 0 && out->used < LINE_BYTES - sizeof HT_EOL - 1) {
        out->line[out->used++] = *string++;
    }
}

static void hex(struct out *out, uintptr_t value, const char *digits)
{
    char buffer[17];
    size_t width = (uint64_t)value > UINT32_MAX ? 16 : 8;
    for (size_t i = width; i-- > 0; value >>= 4) {
        buffer[i] = digits[value & 15u];
    }
    buffer[width] = 0;
    text(out, buffer);
}

static void decimal(struct out *out, uint32_t value, size_t width)
{
    char buffer[11];
    size_t at = sizeof buffer - 1;
    buffer[at] = 0;
    do {
        buffer[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    while (at > 0 && sizeof buffer - 1 - at < width) {
        buffer[--at] = '0';
    }
    text(out, buffer + at);
}

static void end_line(struct out *out)
{
    memcpy(out->line + out->used, HT_EOL, sizeof HT_EOL);
    out->used = 0;
    out->put(out->context, out->line);
}

static void address(struct out *out, uintptr_t value)
{
    text(out, "0x");
    hex(out, value, "0123456789abcdef");
}

static void frames(struct out *out, uint32_t site_number, const char *before)
{
    ht_site site;
    if (!ht_get_site(site_number, &site)) {
        return;
    }
    for (uint32_t i = 0; i < site.depth; i++) {
        text(out, before);
        hex(out, site.frames[i], "0123456789ABCDEF");
        end_line(out);
    }
}

/* "    memleak: VALUE WHAT", nothing where there is nothing to say. */
static void note(struct out *out, uint32_t value, const char *what)
{
    if (value != 0) {
        text(out, "    memleak: ");
        decimal(out, value, 0);
        text(out, what);
        end_line(out);
    }
}

static void full_note(struct out *out, uint32_t value, const char *what, uint32_t capacity, const char *end)
{
    if (value != 0) {
        text(out, "    memleak: ");
        decimal(out, value, 0);
        text(out, what);
        decimal(out, capacity, 0);
        text(out, end);
        end_line(out);
    }
}

/* What the records do not show. Every dump ends with it. */
static void print_limits(struct out *out)
{
    ht_totals totals;
    ht_get_totals(&totals);
    full_note(out, totals.unrecorded, " blocks not recorded (pool of ", totals.capacity, " full)");
    full_note(out, totals.stacks_dropped, " blocks counted under other (table of ", totals.stack_capacity, " stacks full)");
    note(out, totals.failed, " allocations failed");
    note(out, totals.missed_frees, " blocks freed without a hook");
}

static void print_misuse(struct out *out)
{
    ht_report report;
    for (size_t i = 0; ht_get_report(i, &report); i++) {
        bool null = report.kind == HT_FREE_NULL;
        text(out, null ? "free null pointer!!!!" : "double free checked!!!!");
        end_line(out);
        frames(out, report.site, "        backtrace : 0x");
        text(out, "    memleak: ");
        decimal(out, report.count, 0);
        text(out, null ? " frees of null" : " double frees, first of ");
        if (!null) {
            address(out, report.address);
        }
        text(out, ", thread = ");
        text(out, report.thread);
        end_line(out);
    }
}

struct layout {
    const char *record;
    const char *frame;
};

static const struct layout DUMP_LAYOUT = {"    ", "        backtrace : 0x"};
static const struct layout SHOW_LAYOUT = {"\t ", "                backtrace : 0x"};

static void print_blocks(struct out *out, const struct layout *layout, bool on)
{
    ht_cursor cursor = {0};
    ht_block block;
    uint32_t number = 0;
    print_misuse(out);
    while (ht_next_block(&cursor, &block)) {
        text(out, layout->record);
        decimal(out, ++number, 3);
        text(out, ": ptr = ");
        address(out, block.address);
        text(out, ", size = ");
        address(out, block.requested_bytes);
        text(out, ", thread = ");
        text(out, block.thread);
        end_line(out);
        frames(out, block.site, layout->frame);
    }
    if (number == 0) {
        text(out, on ? "    memleak: no live blocks" : "    memleak: off, nothing is recorded");
        end_line(out);
    }
    char name[HT_NAME_BYTES];
    for (uint32_t i = 0; ht_get_filter(i, name); i++) {
        text(out, "\t ");
        decimal(out, i + 1, 3);
        text(out, ": filter thread = ");
        text(out, name);
        end_line(out);
    }
    print_limits(out);
}

static void field(struct out *out, const char *name, uint32_t value)
{
    text(out, name);
    decimal(out, value, 0);
}

static void print_sites(struct out *out)
{
    ht_site site;
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        if (site.allocs == 0 && site.failed == 0) {
            continue;
        }
        text(out, "    site ");
        decimal(out, i, 3);
        field(out, ": live = ", site.live);
        field(out, ", bytes = ", site.live_bytes);
        field(out, ", allocs = ", site.allocs);
        field(out, ", frees = ", site.frees);
        field(out, ", failed = ", site.failed);
        field(out, ", unrecorded = ", site.unrecorded);
        text(out, i == HT_SITE_OTHER ? ", other" : i == HT_SITE_NO_STACK ? ", no stack" : "");
        end_line(out);
        frames(out, i, "        at 0x");
    }
    print_limits(out);
}

bool ht_console(int argc, const char *const argv[], ht_put put, void *context)
{
    struct out out = {.put = put, .context = context};
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "1") == 0 && ht_start(argv + 2, (size_t)(argc - 2))) {
        return true;
    }
    ht_totals totals;
    ht_get_totals(&totals);
    if (strcmp(verb, "0") == 0 && argc == 2) {
        ht_stop(); /* first: the dump is of this moment, and printing may itself allocate */
        print_blocks(&out, &DUMP_LAYOUT, totals.on);
        ht_clear();
        return true;
    }
    if (strcmp(verb, "show") == 0 && argc == 2) {
        print_blocks(&out, &SHOW_LAYOUT, totals.on);
        return true;
    }
    if (strcmp(verb, "sites") == 0 && argc == 2) {
        print_sites(&out);
        return true;
    }
    text(&out, "Usage: memleak [<1/0/show/sites>] [<thread_name1> <thread_name2> <thread_name3>]");
    end_line(&out);
    return false;
}
