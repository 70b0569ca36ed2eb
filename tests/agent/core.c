/* The agent's core and console on a port that the tests play: tiny tables, scripted tasks and stacks.
 * The source is included, so that counters can be set to just before they wrap. */
#define HT_RECORDS 8
#define HT_SITES 6
#define HT_DEPTH 4
#define HT_STACKS 8
#define HT_FRAMES 16
#define HT_THREADS 3
#define HT_FILTERS 2
#define HT_FREED 8
#define HT_REPORTS 2
#define HT_SHOWN_ADDRESS(ret) (ret) /* the fake stacks below are addresses of no code */
#include "../../agent/src/ht_agent.c"
#include "../../agent/src/ht_build_id.c"
#include "../../agent/src/ht_console.c"
#include "../../agent/src/ht_control.c"
#include "../../agent/src/ht_dumps.c"
#include "../../agent/src/ht_read.c"
#include "../../agent/src/ht_stacks.c"
#include "../../agent/src/ht_store.c"
#include "../../agent/src/ht_text.c"
#include "check.h"

/* -- The port ------------------------------------------------------------------------------------------------------ */

static struct {
    int depth_of_lock, locks;
    uint32_t id;
    const char *name;
    uintptr_t frames[8];
    size_t depth;
    int backtraces;
    bool clear_at_backtrace;
} fake;

uintptr_t ht_port_lock(void)
{
    CHECK(fake.depth_of_lock++ == 0);
    fake.locks++;
    return 0x10c4;
}

void ht_port_unlock(uintptr_t saved)
{
    CHECK(saved == 0x10c4);
    CHECK(--fake.depth_of_lock == 0);
}

uint32_t ht_port_thread_id(void)
{
    CHECK(fake.depth_of_lock == 1);
    return fake.id;
}

const char *ht_port_thread_name(void)
{
    CHECK(fake.depth_of_lock == 1);
    return fake.name;
}

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    CHECK(fake.depth_of_lock == 0);
    CHECK(frame != NULL && ret != 0);
    fake.backtraces++;
    if (fake.clear_at_backtrace) {
        fake.clear_at_backtrace = false;
        CHECK(ht_start(NULL, 0));
    }
    size_t depth = fake.depth < max ? fake.depth : max;
    memcpy(pcs, fake.frames, depth * sizeof pcs[0]);
    return depth;
}

static void as_task(uint32_t id, const char *name)
{
    fake.id = id;
    fake.name = name;
}

/* The stack of the calls that follow: two frames, the same allocator below each caller. */
static void from(uintptr_t caller)
{
    fake.frames[0] = 0x08336aee;
    fake.frames[1] = caller;
    fake.depth = 2;
}

static void before_each(void)
{
    memset(&fake, 0, sizeof fake);
    as_task(1, "AudioRender");
    from(0x08396d52);
    CHECK(ht_start(NULL, 0));
}

static void after_each(void)
{
    CHECK(fake.depth_of_lock == 0);
    CHECK(fake.locks > 0);
    ht_clear();
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.live == 0 && !totals.on);
}

/* -- What the tests say -------------------------------------------------------------------------------------------- */

static void *at(uintptr_t address) { return (void *)address; }

static void alloc(uintptr_t address, size_t bytes) { ht_on_malloc(at(address), bytes, bytes + 16); }

static ht_totals totals(void)
{
    ht_totals now;
    ht_get_totals(&now);
    return now;
}

static ht_site site(uint32_t number)
{
    ht_site found;
    CHECK(ht_get_site(number, &found));
    return found;
}

static size_t list(ht_block blocks[], size_t max)
{
    ht_cursor cursor = {0};
    size_t count = 0;
    while (count < max && ht_next_block(&cursor, &blocks[count])) {
        count++;
    }
    return count;
}

static char printed[8192];
static char around[1024]; /* the begin and end lines, which most tests do not look at */

static void keep_line(void *context, const char *line)
{
    CHECK(context == printed);
    CHECK(fake.depth_of_lock == 0);
    CHECK(strlen(line) > 0 && line[strlen(line) - 1] == '\n');
    char *to = strstr(line, "    heaptrail: ") == line ? around : printed;
    CHECK(strlen(to) + strlen(line) < (to == around ? sizeof around : sizeof printed));
    strcat(to, line);
}

static const char *console(int argc, const char *first, const char *second, const char *third, const char *fourth)
{
    const char *argv[] = {"memleak", first, second, third, fourth, NULL};
    printed[0] = 0;
    around[0] = 0;
    (void)ht_console(argc, argv, keep_line, printed);
    return printed;
}

/* -- Tests --------------------------------------------------------------------------------------------------------- */

static void a_freed_block_is_gone_and_a_live_one_is_listed(void)
{
    alloc(0x1000, 100);
    alloc(0x2000, 200);
    ht_on_free(at(0x1000));
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 1);
    CHECK(blocks[0].address == 0x2000 && blocks[0].requested_bytes == 200 && blocks[0].overhead_bytes == 16);
    CHECK(strcmp(blocks[0].thread, "AudioRender") == 0);
    CHECK(site(2).live == 1 && site(2).live_bytes == 200 && site(2).allocs == 2 && site(2).frees == 1);
    CHECK(site(2).oldest_death == 1);
}

static void off_means_nothing_is_recorded(void)
{
    ht_stop();
    alloc(0x1000, 100);
    ht_on_free(NULL);
    CHECK(totals().allocs == 0 && totals().null_frees == 0 && !totals().on);
}

static void a_full_pool_counts_the_block_at_its_site_and_evicts_nothing(void)
{
    for (uintptr_t i = 1; i <= HT_RECORDS + 3; i++) {
        alloc(i * 0x1000, 24);
    }
    CHECK(totals().live == HT_RECORDS && totals().unrecorded == 3);
    CHECK(site(2).allocs == HT_RECORDS + 3 && site(2).unrecorded == 3 && site(2).live == HT_RECORDS);
    ht_block blocks[16];
    CHECK(list(blocks, 16) == HT_RECORDS);
    CHECK(blocks[HT_RECORDS - 1].address == 0x1000);
    ht_on_free(at(HT_RECORDS * 0x1000 + 0x1000)); /* one that has no record: unknown, not a double free */
    CHECK(totals().unknown_frees == 1 && totals().double_frees == 0);
    ht_on_free(at(0x1000));
    alloc(0x99000, 24);
    CHECK(totals().live == HT_RECORDS && totals().unrecorded == 3);
    CHECK(strstr(console(2, "0", NULL, NULL, NULL), "    memleak: 3 blocks not recorded (pool of 8 full)\n") != NULL);
}

static void a_reused_address_is_a_new_block(void)
{
    alloc(0x1000, 100);
    ht_on_free(at(0x1000));
    from(0x0839757e);
    alloc(0x1000, 50);
    CHECK(totals().live == 1 && site(2).live == 0 && site(3).live == 1);
    ht_on_free(at(0x1000));
    CHECK(totals().live == 0 && totals().double_frees == 0 && totals().missed_frees == 0);
}

static void an_address_that_comes_again_without_a_free_replaces_the_old_block(void)
{
    alloc(0x1000, 100);
    alloc(0x1000, 60);
    CHECK(totals().live == 1 && totals().missed_frees == 1);
    CHECK(site(2).live == 1 && site(2).live_bytes == 60);
}

static void realloc_keeps_birth_and_site_and_follows_the_size(void)
{
    alloc(0x1000, 100);
    alloc(0x5000, 1);
    from(0x0839757e);
    ht_on_realloc(at(0x1000), at(0x2000), 300, 320);
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 2);
    CHECK(blocks[1].address == 0x2000 && blocks[1].requested_bytes == 300 && blocks[1].overhead_bytes == 20);
    CHECK(blocks[1].age == 1 && blocks[1].site == 2);
    CHECK(site(2).live == 2 && site(2).live_bytes == 301);
    ht_on_realloc(at(0x2000), at(0x2000), 10, 0);
    CHECK(site(2).live_bytes == 11);
    ht_on_free(at(0x1000)); /* where the block was before it moved: somebody kept the old pointer */
    CHECK(totals().double_frees == 1);
    ht_on_free(at(0x2000));
    CHECK(totals().live == 1 && totals().double_frees == 1);
}

static void a_failed_realloc_leaves_the_block_and_counts_a_failure(void)
{
    alloc(0x1000, 100);
    ht_on_realloc(at(0x1000), NULL, 5000, 0);
    CHECK(totals().live == 1 && totals().failed == 1 && site(2).live_bytes == 100);
}

static void realloc_of_null_or_of_an_unknown_block_is_an_allocation(void)
{
    ht_on_realloc(NULL, at(0x1000), 100, 0);
    ht_on_realloc(at(0x7000), at(0x2000), 100, 0);
    CHECK(totals().live == 2 && totals().allocs == 2);
}

static void a_free_of_an_unknown_block_is_counted_and_not_blamed(void)
{
    ht_on_free(at(0x1000));
    ht_on_free(at(0x1000));
    CHECK(totals().unknown_frees == 2 && totals().double_frees == 0);
}

static void a_free_of_null_is_reported_with_its_stack(void)
{
    ht_on_free(NULL);
    ht_on_free(NULL);
    CHECK(totals().null_frees == 2);
    CHECK_TEXT(console(2, "show", NULL, NULL, NULL), "free null pointer!!!!\n"
                                                     "        backtrace : 0x08336AEE\n"
                                                     "        backtrace : 0x08396D52\n"
                                                     "    memleak: 2 frees of null, thread = AudioRender\n"
                                                     "    memleak: no live blocks\n");
}

static void a_double_free_is_reported_with_both_stacks(void)
{
    alloc(0x1000, 100);
    ht_on_free(at(0x1000));
    from(0x0839757e);
    ht_on_free(at(0x1000));
    CHECK(totals().double_frees == 1 && totals().frees == 1);
    CHECK_TEXT(console(2, "0", NULL, NULL, NULL),
               "double free checked!!!!\n"
               "        backtrace : 0x08336AEE\n"
               "        backtrace : 0x0839757E\n"
               "    memleak: 1 double frees, first of 0x00001000, thread = AudioRender\n"
               "        freed before at 0x08336AEE\n"
               "        freed before at 0x08396D52\n"
               "    memleak: no live blocks\n");
}

static void misuse_beyond_the_report_table_is_still_counted(void)
{
    for (uintptr_t caller = 1; caller <= 3; caller++) {
        from(caller);
        ht_on_free(NULL);
    }
    ht_report report;
    CHECK(ht_get_report(1, &report) && !ht_get_report(2, &report));
    CHECK(totals().null_frees == 3);
}

static void a_block_of_a_filtered_task_is_no_double_free(void)
{
    const char *const names[] = {"Demux"};
    CHECK(ht_start(names, 1));
    as_task(2, "Demux");
    alloc(0x1000, 100);
    ht_on_free(at(0x1000));
    as_task(1, "AudioRender");
    alloc(0x1000, 100); /* the same address, outside the filter */
    ht_on_free(at(0x1000));
    CHECK(totals().double_frees == 0 && totals().unknown_frees == 1 && totals().live == 0);
}

static void an_unrecorded_block_at_a_freed_address_is_no_double_free(void)
{
    alloc(0x1000, 8);
    ht_on_free(at(0x1000));
    for (uintptr_t i = 1; i <= HT_RECORDS; i++) {
        alloc(i * 0x10000, 8);
    }
    alloc(0x1000, 8);
    ht_on_free(at(0x1000));
    CHECK(totals().unrecorded == 1 && totals().double_frees == 0);
}

static void births_may_wrap_and_the_order_holds(void)
{
    ht.born = UINT32_MAX - 1;
    alloc(0x1000, 1); /* birth UINT32_MAX */
    alloc(0x2000, 2); /* birth 0 */
    alloc(0x3000, 3);
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 3);
    CHECK(blocks[0].address == 0x3000 && blocks[1].address == 0x2000 && blocks[2].address == 0x1000);
    CHECK(blocks[2].age == 2);
    ht_on_free(at(0x1000));
    CHECK(site(2).oldest_death == 2);
}

static void counters_stop_at_their_greatest_value(void)
{
    alloc(0x1000, 1);
    ht.sites[2].recorded = UINT32_MAX - 1;
    ht.unknown_frees = UINT32_MAX;
    alloc(0x2000, 1);
    alloc(0x3000, 1);
    ht_on_free(at(0x9000));
    CHECK(site(2).allocs == UINT32_MAX && totals().unknown_frees == UINT32_MAX);
}

/* A site's frees are what it recorded less what is live: also beyond 2^32. */
static void frees_are_right_when_a_site_wraps(void)
{
    alloc(0x1000, 1);
    ht.sites[2].recorded = UINT32_MAX; /* one live, UINT32_MAX - 1 freed */
    CHECK(site(2).frees == UINT32_MAX - 1 && site(2).first_birth == 1);
    alloc(0x2000, 1);
    CHECK(site(2).allocs == UINT32_MAX && site(2).live == 2 && site(2).frees == UINT32_MAX - 1);
    ht_on_free(at(0x1000));
    ht_on_free(at(0x2000));
    CHECK(site(2).frees == UINT32_MAX && totals().frees == UINT32_MAX && site(2).first_birth == 1);
}

/* A block whose free had no hook was allocated, and not freed. */
static void a_missed_free_is_no_free(void)
{
    alloc(0x1000, 1);
    alloc(0x1000, 1);
    alloc(0x1000, 1);
    ht_on_free(at(0x1000));
    CHECK(site(2).allocs == 3 && site(2).frees == 1 && site(2).first_birth == 1 && totals().missed_frees == 2);
}

static void a_full_stack_table_counts_under_other(void)
{
    for (uintptr_t caller = 1; caller <= HT_SITES; caller++) {
        from(caller);
        alloc(caller * 0x1000, 10);
    }
    CHECK(totals().sites == HT_SITES - 2 && totals().site_capacity == HT_SITES - 2 && totals().stacks_dropped == 2);
    CHECK(site(HT_SITE_OTHER).live == 2 && site(HT_SITE_OTHER).live_bytes == 20 && site(HT_SITE_OTHER).stack.depth == 0);
    from(1);
    alloc(0x90000, 10); /* a stack that is known keeps its site */
    CHECK(site(2).live == 2);
    CHECK(strstr(console(2, "show", NULL, NULL, NULL),
                 "    memleak: 2 blocks counted under other (table of 8 stacks full)\n") != NULL);
    CHECK(strstr(console(2, "sites", NULL, NULL, NULL), "    site 000: live = 2, bytes = 20, allocs = 2, frees = 0, "
                                                        "failed = 0, unrecorded = 0, first = 5, last = 6, oldest = 0, "
                                                        "other\n") != NULL);
}

static void full_room_for_frames_counts_under_other_too(void)
{
    fake.depth = 4;
    for (uintptr_t i = 0; i < 5; i++) {
        fake.frames[3] = i;
        alloc((i + 1) * 0x1000, 10);
    }
    CHECK(totals().stacks == 4 && totals().stacks_dropped == 1 && site(HT_SITE_OTHER).live == 1);
}

static void stacks_that_differ_in_depth_alone_are_two_sites(void)
{
    alloc(0x1000, 1);
    fake.depth = 1;
    alloc(0x2000, 1);
    CHECK(totals().stacks == 2 && site(3).stack.depth == 1);
}

static void no_stack_is_a_group_of_its_own(void)
{
    fake.depth = 0;
    alloc(0x1000, 0xf00);
    CHECK(site(HT_SITE_NO_STACK).live == 1 && totals().stacks == 0);
    CHECK_TEXT(console(2, "show", NULL, NULL, NULL), "\t 001: ptr = 0x00001000, size = 0x00000f00, thread = AudioRender\n");
    CHECK(strstr(console(2, "sites", NULL, NULL, NULL), ", no stack\n") != NULL);
}

static void a_filter_records_its_tasks_alone_and_the_dump_says_so(void)
{
    (void)console(4, "1", "Demux", "XPlayer", NULL);
    alloc(0x1000, 1);
    as_task(2, "Demux");
    alloc(0x2000, 2);
    as_task(1, "AudioRender");
    CHECK_TEXT(console(2, "show", NULL, NULL, NULL), "\t 001: ptr = 0x00002000, size = 0x00000002, thread = Demux\n"
                                                     "                backtrace : 0x08336AEE\n"
                                                     "                backtrace : 0x08396D52\n"
                                                     "\t 001: filter thread = Demux\n"
                                                     "\t 002: filter thread = XPlayer\n");
    ht_on_free(at(0x2000)); /* by another task: followed all the same */
    CHECK(totals().live == 0 && totals().frees == 1);
}

static void memleak_1_without_names_clears_the_filter(void)
{
    (void)console(3, "1", "Demux", NULL, NULL);
    alloc(0x1000, 1);
    (void)console(2, "0", NULL, NULL, NULL);
    (void)console(2, "1", NULL, NULL, NULL);
    alloc(0x1000, 1);
    CHECK(totals().live == 1 && totals().filters == 0);
}

static void too_many_names_change_nothing(void)
{
    alloc(0x1000, 1);
    CHECK(strncmp(console(5, "1", "a", "b", "c"), "Usage: memleak [<1/0/show/", 26) == 0);
    CHECK(totals().live == 1 && totals().on);
}

static void a_task_is_remembered_by_the_name_of_its_first_sight(void)
{
    alloc(0x1000, 1);
    as_task(1, "garbage of a dead task");
    alloc(0x2000, 1);
    as_task(2, NULL);
    alloc(0x3000, 1);
    as_task(HT_ID_ISR, NULL);
    alloc(0x4000, 1);
    as_task(9, "one too many");
    alloc(0x5000, 1);
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 5);
    CHECK(strcmp(blocks[0].thread, "(other)") == 0);
    CHECK(strcmp(blocks[1].thread, "ISR") == 0);
    CHECK(strcmp(blocks[2].thread, "(null)") == 0);
    CHECK(strcmp(blocks[3].thread, "AudioRender") == 0);
    CHECK(strcmp(blocks[4].thread, "AudioRender") == 0);
}

static void before_the_scheduler_is_a_name_too_and_long_names_are_cut(void)
{
    as_task(HT_ID_STARTUP, "whatever ran last");
    alloc(0x1000, 1);
    as_task(5, "usb-hardware-service");
    alloc(0x2000, 1);
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 2);
    CHECK(strcmp(blocks[1].thread, "(start-up)") == 0);
    CHECK(strcmp(blocks[0].thread, "usb-hardware-se") == 0);
}

static void failed_allocations_are_counted_at_their_site(void)
{
    ht_on_malloc(NULL, 0xf00, 0);
    CHECK(site(2).failed == 1 && site(2).allocs == 0 && totals().failed == 1 && totals().live == 0);
    CHECK_TEXT(console(2, "0", NULL, NULL, NULL), "    memleak: no live blocks\n    memleak: 1 allocations failed\n");
}

static void the_overhead_is_unknown_rather_than_wrong(void)
{
    ht_on_malloc(at(0x1000), 100, 0);
    ht_on_malloc(at(0x2000), 100, 90);
    ht_on_malloc(at(0x3000), 100, 100 + 254);
    ht_on_malloc(at(0x4000), 100, 100 + 255);
    ht_block blocks[8];
    CHECK(list(blocks, 8) == 4);
    CHECK(blocks[3].overhead_bytes == 255 && blocks[2].overhead_bytes == 255);
    CHECK(blocks[1].overhead_bytes == 254 && blocks[0].overhead_bytes == 255);
}

static void the_case_prints_as_in_the_case(void)
{
    uintptr_t softvol[] = {0x08336aee, 0x08336b46, 0x08396d52, 0x084b025e};
    memcpy(fake.frames, softvol, sizeof softvol);
    fake.depth = 4;
    alloc(0x0875f990, 0xf00);
    fake.frames[2] = 0x0839757e;
    alloc(0x08760960, 0xf00);
    CHECK_TEXT(console(2, "0", NULL, NULL, NULL), "    001: ptr = 0x08760960, size = 0x00000f00, thread = AudioRender\n"
                                                  "        backtrace : 0x08336AEE\n"
                                                  "        backtrace : 0x08336B46\n"
                                                  "        backtrace : 0x0839757E\n"
                                                  "        backtrace : 0x084B025E\n"
                                                  "    002: ptr = 0x0875f990, size = 0x00000f00, thread = AudioRender\n"
                                                  "        backtrace : 0x08336AEE\n"
                                                  "        backtrace : 0x08336B46\n"
                                                  "        backtrace : 0x08396D52\n"
                                                  "        backtrace : 0x084B025E\n");
    CHECK_TEXT(console(2, "0", NULL, NULL, NULL), "    memleak: off, nothing is recorded\n");
}

static void wide_addresses_get_sixteen_digits(void)
{
    fake.frames[0] = 0x00007f12deadbeef;
    fake.depth = 1;
    alloc(0x00007f0000001000, 1);
    CHECK_TEXT(console(2, "0", NULL, NULL, NULL),
               "    001: ptr = 0x00007f0000001000, size = 0x00000001, thread = AudioRender\n"
               "        backtrace : 0x00007F12DEADBEEF\n");
}

static void a_listing_leaves_out_what_is_born_during_it(void)
{
    ht_cursor cursor = {0};
    ht_block block;
    alloc(0x1000, 1);
    alloc(0x2000, 1);
    CHECK(ht_next_block(&cursor, &block) && block.address == 0x2000);
    alloc(0x3000, 1);
    CHECK(ht_next_block(&cursor, &block) && block.address == 0x1000);
    CHECK(!ht_next_block(&cursor, &block));
}

static void a_listing_ends_when_the_tables_are_cleared_under_it(void)
{
    ht_cursor cursor = {0};
    ht_block block;
    alloc(0x1000, 1);
    alloc(0x2000, 1);
    CHECK(ht_next_block(&cursor, &block));
    CHECK(ht_start(NULL, 0));
    alloc(0x3000, 1);
    CHECK(!ht_next_block(&cursor, &block));
}

static void misunderstood_words_print_the_usage(void)
{
    CHECK(strncmp(console(1, NULL, NULL, NULL, NULL), "Usage: memleak ", 15) == 0);
    CHECK(strncmp(console(2, "2", NULL, NULL, NULL), "Usage: memleak ", 15) == 0);
    CHECK(strncmp(console(3, "0", "Demux", NULL, NULL), "Usage: memleak ", 15) == 0);
    CHECK(totals().on);
}

static bool recorded(uintptr_t address)
{
    return ht_seek(address, ht_hash_address(address))->address == address;
}

/* The order that makes searches short: nobody is farther from home than the one before him, plus one. */
static void check_order(void)
{
    for (uint32_t slot = 0; slot < HT_SLOTS; slot++) {
        const struct ht_record *next = next_of(&ht.records[slot]);
        if (next->address != 0) {
            uint32_t before = ht.records[slot].address != 0 ? away(&ht.records[slot]) + 1 : 0;
            CHECK(away(next) <= before);
        }
    }
}

/* Random mallocs, frees and reallocs over few addresses, against the plainest reference there is. */
static void it_agrees_with_a_plain_reference(void)
{
    enum { ADDRESSES = 24 };
    uint32_t size_of[ADDRESSES] = {0}; /* 0: not live */
    uint32_t random = 12345, live = 0;
    for (int step = 0; step < 200000; step++) {
        random = random * 1664525u + 1013904223u;
        uint32_t which = (random >> 8) % ADDRESSES;
        uint32_t other = (random >> 16) % ADDRESSES;
        uintptr_t address = (which + 1) * 0x40u;
        from(random >> 31);
        if (size_of[which] == 0 && live < HT_RECORDS) {
            size_of[which] = 1 + (random >> 20);
            alloc(address, size_of[which]);
            live++;
        } else if (size_of[which] != 0 && size_of[other] == 0 && (random & 0x80u) != 0) {
            size_of[other] = 1 + (random >> 22);
            ht_on_realloc(at(address), at((other + 1) * 0x40u), size_of[other], 0);
            size_of[which] = 0;
        } else if (size_of[which] != 0) {
            size_of[which] = 0;
            ht_on_free(at(address));
            live--;
        }
        CHECK(ht.live == live);
        check_order();
        CHECK(recorded((other + 1) * 0x40u) == (size_of[other] != 0));
    }
    ht_block blocks[HT_RECORDS];
    size_t listed = list(blocks, HT_RECORDS);
    CHECK(listed == live);
    for (size_t i = 0; i < listed; i++) {
        CHECK(blocks[i].requested_bytes == size_of[blocks[i].address / 0x40 - 1]);
        CHECK(i == 0 || blocks[i].age > blocks[i - 1].age);
    }
    CHECK(totals().missed_frees == 0 && totals().double_frees == 0 && totals().unknown_frees == 0);
    CHECK(site(2).live + site(3).live == live);
}

/* -- Frees: who did it --------------------------------------------------------------------------------------------- */

static void free_by(uintptr_t address, uintptr_t caller)
{
    from(caller);
    ht_on_free_by(at(address), at(caller));
}

static uint32_t freeing_frame(uint32_t number, uint32_t i)
{
    ht_stack_copy stack;
    CHECK(ht_get_stack(site(number).freed_by, &stack) && i < stack.depth);
    return (uint32_t)stack.frames[i];
}

static void a_site_names_the_stack_that_last_freed_a_block_of_it(void)
{
    alloc(0x1000, 1);
    alloc(0x2000, 1);
    alloc(0x3000, 1);
    CHECK(site(2).freed_by == 0);
    free_by(0x1000, 0x0844aaaa);
    CHECK(freeing_frame(2, 1) == 0x0844aaaa);
    free_by(0x2000, 0x0844bbbb);
    CHECK(freeing_frame(2, 1) == 0x0844bbbb);
    CHECK(totals().stacks == 3 && totals().sites == 1);
    CHECK_TEXT(console(2, "sites", NULL, NULL, NULL),
               "    site 002: live = 1, bytes = 1, allocs = 3, frees = 2, failed = 0, unrecorded = 0, first = 1, last = 3, "
               "oldest = 2\n"
               "        at 0x08336AEE\n"
               "        at 0x08396D52\n"
               "        freed at 0x08336AEE\n"
               "        freed at 0x0844BBBB\n");
}

static void a_free_like_the_last_one_takes_no_stack(void)
{
    for (uintptr_t i = 1; i <= 5; i++) {
        from(0x08396d52);
        alloc(i * 0x1000, 1);
        int before = fake.backtraces;
        free_by(i * 0x1000, 0x0844aaaa);
        CHECK(fake.backtraces - before == (i == 1));
    }
    CHECK(freeing_frame(2, 1) == 0x0844aaaa);
}

static void a_freeing_stack_without_room_is_not_known_and_the_dump_says_so(void)
{
    for (uintptr_t i = 1; i <= HT_STACKS; i++) {
        from(0x08396d52);
        alloc(i * 0x1000, 1);
        free_by(i * 0x1000, 0x0844aa00 + i);
    }
    CHECK(totals().stacks == HT_STACKS && totals().free_stacks_dropped == 1 && site(2).freed_by == 0);
    CHECK(strstr(console(2, "show", NULL, NULL, NULL), "    memleak: 1 freeing stacks not kept (table full)\n") != NULL);
}

static void a_clear_between_a_free_and_its_stack_is_noticed(void)
{
    alloc(0x1000, 1);
    fake.clear_at_backtrace = true; /* another task types `memleak 1` just then */
    free_by(0x1000, 0x0844aaaa);
    CHECK(totals().frees == 0 && totals().stacks == 0 && totals().on);
}

/* -- Pause ---------------------------------------------------------------------------------------------------------- */

static void a_pause_records_nothing_and_follows_frees(void)
{
    alloc(0x1000, 1);
    alloc(0x2000, 2);
    CHECK_TEXT(console(2, "pause", NULL, NULL, NULL), "    memleak: paused\n");
    alloc(0x3000, 3);
    ht_on_free(at(0x1000));
    ht_on_free(at(0x3000)); /* born in the pause: unknown, and no double free */
    CHECK(totals().on && totals().paused && totals().live == 1 && totals().while_paused == 1);
    CHECK(totals().frees == 1 && totals().unknown_frees == 1 && totals().double_frees == 0);
    CHECK_TEXT(console(2, "show", NULL, NULL, NULL), "\t 001: ptr = 0x00002000, size = 0x00000002, thread = AudioRender\n"
                                                     "                backtrace : 0x08336AEE\n"
                                                     "                backtrace : 0x08396D52\n"
                                                     "    memleak: 1 allocations while paused\n");
    CHECK(strstr(around, "state=paused\n") != NULL);
    CHECK_TEXT(console(2, "pause", NULL, NULL, NULL), "    memleak: nothing to pause\n");
    CHECK_TEXT(console(2, "resume", NULL, NULL, NULL), "    memleak: resumed\n");
    alloc(0x4000, 4);
    CHECK(totals().live == 2 && !totals().paused);
}

static void an_address_that_comes_again_in_a_pause_is_no_old_block(void)
{
    alloc(0x1000, 1);
    CHECK(ht_pause());
    alloc(0x1000, 2);
    CHECK(totals().live == 0 && totals().missed_frees == 1);
    ht_on_free(at(0x1000));
    CHECK(totals().double_frees == 0);
}

static void a_realloc_in_a_pause_still_moves_a_known_block(void)
{
    alloc(0x1000, 1);
    CHECK(ht_pause());
    ht_on_realloc(at(0x1000), at(0x2000), 9, 0);
    ht_on_realloc(NULL, at(0x5000), 9, 0);
    CHECK(totals().live == 1 && site(2).live_bytes == 9 && totals().while_paused == 1);
}

static void a_realloc_in_a_pause_to_the_address_of_an_old_block_ends_it(void)
{
    alloc(0x1000, 1);
    CHECK(ht_pause());
    ht_on_realloc(NULL, at(0x1000), 9, 0);
    CHECK(totals().live == 0 && totals().missed_frees == 1 && totals().while_paused == 1);
}

/* -- Begin and end ---------------------------------------------------------------------------------------------------- */

static uint32_t fnv(const char *text)
{
    uint32_t sum = 2166136261u;
    bool at_start = true;
    for (; *text != 0; text++) {
        if (at_start && (*text == ' ' || *text == '\t')) {
            continue;
        }
        at_start = *text == '\n';
        sum = (sum ^ (uint8_t)*text) * 16777619u;
    }
    return sum;
}

static void a_dump_stands_between_a_begin_and_an_end_line(void)
{
    from(0x1);
    alloc(0x1000, 0x10);
    alloc(0x2000, 0x20);
    ht_on_malloc(NULL, 5, 0);
    const char *blocks = console(2, "show", NULL, NULL, NULL);
    const char *end = strstr(around, "    heaptrail: end ");
    CHECK(end != NULL);
    char whole[2048] = "";
    strncat(whole, around, (size_t)(end - around));
    CHECK_TEXT(whole, "    heaptrail: begin show text=1 agent=" HT_AGENT_VERSION
                      " build=none depth=4 pool=2/8 stacks=1/8 filters=0 state=on\n");
    strcat(whole, blocks);
    char wanted[256];
    (void)snprintf(wanted, sizeof wanted,
                   "    heaptrail: end show items=2 bytes=48 unrecorded=0 other=0 failed=1 missed=0 double=0 null=0 lines=8 "
                   "sum=%08X\n",
                   fnv(whole));
    CHECK_TEXT(end, wanted);
}

static void the_compact_layout_prints_each_stack_and_task_once(void)
{
    alloc(0x1000, 0xf00);
    alloc(0x2000, 0xf00);
    as_task(7, "Tmr Svc");
    fake.frames[2] = 0x08446856;
    fake.frames[3] = 0x084496c6;
    fake.depth = 4;
    alloc(0x3000, 1);
    fake.depth = 0;
    ht_on_malloc(at(0x4000), 2, 0);
    CHECK_TEXT(console(3, "show", "compact", NULL, NULL), "@s1\n"
                                                          "@s2 08336AEE 08396D52\n"
                                                          "@s3 08336AEE 08396D52 08446856 084496C6\n"
                                                          "@t0 1 AudioRender\n"
                                                          "@t1 7 Tmr Svc\n"
                                                          "@b 00004000 2 255 s1 t1 q4\n"
                                                          "@b 00003000 1 16 s3 t1 q3\n"
                                                          "@b 00002000 f00 16 s2 t0 q2\n"
                                                          "@b 00001000 f00 16 s2 t0 q1\n");
    CHECK(strstr(around, "    heaptrail: end compact items=4 bytes=7683 ") != NULL);
}

#define TEST(name) {#name, name}

int main(int argc, char *argv[])
{
    static const struct named_test TESTS[] = {
        TEST(a_freed_block_is_gone_and_a_live_one_is_listed),
        TEST(off_means_nothing_is_recorded),
        TEST(a_full_pool_counts_the_block_at_its_site_and_evicts_nothing),
        TEST(a_reused_address_is_a_new_block),
        TEST(an_address_that_comes_again_without_a_free_replaces_the_old_block),
        TEST(realloc_keeps_birth_and_site_and_follows_the_size),
        TEST(a_failed_realloc_leaves_the_block_and_counts_a_failure),
        TEST(realloc_of_null_or_of_an_unknown_block_is_an_allocation),
        TEST(a_free_of_an_unknown_block_is_counted_and_not_blamed),
        TEST(a_free_of_null_is_reported_with_its_stack),
        TEST(a_double_free_is_reported_with_both_stacks),
        TEST(misuse_beyond_the_report_table_is_still_counted),
        TEST(a_block_of_a_filtered_task_is_no_double_free),
        TEST(an_unrecorded_block_at_a_freed_address_is_no_double_free),
        TEST(births_may_wrap_and_the_order_holds),
        TEST(counters_stop_at_their_greatest_value),
        TEST(frees_are_right_when_a_site_wraps),
        TEST(a_missed_free_is_no_free),
        TEST(a_full_stack_table_counts_under_other),
        TEST(full_room_for_frames_counts_under_other_too),
        TEST(stacks_that_differ_in_depth_alone_are_two_sites),
        TEST(no_stack_is_a_group_of_its_own),
        TEST(a_filter_records_its_tasks_alone_and_the_dump_says_so),
        TEST(memleak_1_without_names_clears_the_filter),
        TEST(too_many_names_change_nothing),
        TEST(a_task_is_remembered_by_the_name_of_its_first_sight),
        TEST(before_the_scheduler_is_a_name_too_and_long_names_are_cut),
        TEST(failed_allocations_are_counted_at_their_site),
        TEST(the_overhead_is_unknown_rather_than_wrong),
        TEST(the_case_prints_as_in_the_case),
        TEST(wide_addresses_get_sixteen_digits),
        TEST(a_listing_leaves_out_what_is_born_during_it),
        TEST(a_listing_ends_when_the_tables_are_cleared_under_it),
        TEST(misunderstood_words_print_the_usage),
        TEST(a_site_names_the_stack_that_last_freed_a_block_of_it),
        TEST(a_free_like_the_last_one_takes_no_stack),
        TEST(a_freeing_stack_without_room_is_not_known_and_the_dump_says_so),
        TEST(a_clear_between_a_free_and_its_stack_is_noticed),
        TEST(a_pause_records_nothing_and_follows_frees),
        TEST(an_address_that_comes_again_in_a_pause_is_no_old_block),
        TEST(a_realloc_in_a_pause_still_moves_a_known_block),
        TEST(a_realloc_in_a_pause_to_the_address_of_an_old_block_ends_it),
        TEST(a_dump_stands_between_a_begin_and_an_end_line),
        TEST(the_compact_layout_prints_each_stack_and_task_once),
        TEST(it_agrees_with_a_plain_reference),
    };
    return run_named(argc, argv, TESTS, sizeof TESTS / sizeof TESTS[0], before_each, after_each);
}
