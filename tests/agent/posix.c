/* The POSIX port for real: backtraces of this program's own calls, and many threads at once (built for TSan as well). */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "ht_agent.h"
#include "ht_port_posix.h"
#include "ht_stream.h"

#define FRAME __attribute__((noinline, noclone))

static volatile int after_call; /* written after each call, so that no call is a tail call */

/* -- A chain of known functions ------------------------------------------------------------------------------------ */

FRAME static void my_malloc(void *block)
{
    ht_on_malloc(block, 64, 80);
    after_call++;
}

FRAME static void inner(void *block)
{
    my_malloc(block);
    after_call++;
}

FRAME static void outer(void *block)
{
    inner(block);
    after_call++;
}

static ht_site only_site(void)
{
    ht_site found;
    CHECK(ht_get_site(2, &found) && !ht_get_site(3, &found));
    CHECK(ht_get_site(2, &found));
    return found;
}

/* The frames, one a line; the Python side resolves them with the ELF file. */
FRAME static void print_chain(void *unused)
{
    (void)unused;
    static char block[64];
    CHECK(ht_start(NULL, 0));
    outer(block);
    ht_site found = only_site();
    for (uint32_t i = 0; i < found.stack.depth; i++) {
        (void)printf("%#zx\n", (size_t)found.stack.frames[i]);
    }
}

FRAME static void *attached(void *unused)
{
    HT_POSIX_ATTACH();
    print_chain(unused);
    after_call++;
    return NULL;
}

static void chain_of_main(void) { attached(NULL); }

static void chain_of_a_thread(void)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, attached, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

static void *unattached(void *unused)
{
    static char block[64];
    outer(block);
    return unused;
}

static void a_thread_that_never_attached_has_no_stack(void)
{
    pthread_t thread;
    CHECK(ht_start(NULL, 0));
    CHECK(pthread_create(&thread, NULL, unattached, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    ht_site found;
    CHECK(ht_get_site(HT_SITE_NO_STACK, &found) && found.live == 1);
}

FRAME static void deep(int levels, void *block)
{
    if (levels > 0) {
        deep(levels - 1, block);
    } else {
        my_malloc(block);
    }
    after_call++;
}

static void a_deep_stack_is_cut_at_the_limit(void)
{
    static char block[64];
    HT_POSIX_ATTACH();
    CHECK(ht_start(NULL, 0));
    deep(100, block);
    CHECK(only_site().stack.depth == HT_DEPTH);
}

static void *named(void *name)
{
    CHECK(pthread_setname_np(pthread_self(), name) == 0);
    return unattached(NULL);
}

static void a_dead_threads_name_stays_its_own(void)
{
    char name[] = "adbd-shell-ser-";
    pthread_t thread;
    CHECK(ht_start(NULL, 0));
    CHECK(pthread_create(&thread, NULL, named, name) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    (void)memset(name, 'x', sizeof name - 1);
    ht_cursor cursor = {0};
    ht_block block;
    CHECK(ht_next_block(&cursor, &block));
    CHECK(strcmp(block.thread, "adbd-shell-ser-") == 0);
}

/* -- Many threads -------------------------------------------------------------------------------------------------- */

enum { THREADS = 4, ROUNDS = 5000, HELD = 16 };

static char arena[THREADS][HELD][16];
static atomic_bool ending;
static int rounds = ROUNDS;

/* Each thread's blocks come and go; at the end it holds one. */
static void *churn(void *argument)
{
    HT_POSIX_ATTACH();
    size_t me = (size_t)argument;
    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < HELD; i++) {
            ht_on_malloc(arena[me][i], (size_t)(i + 1), 32);
        }
        ht_on_realloc(arena[me][0], arena[me][0], 100, 128);
        for (int i = HELD; i-- > 0;) {
            ht_on_free(arena[me][i]);
        }
    }
    ht_on_malloc(arena[me][me], me + 1, 32);
    return NULL;
}

static void drop_line(void *lines, const char *line)
{
    CHECK(line[0] != 0);
    ++*(unsigned *)lines;
}

static void *watch(void *unused)
{
    static const char *const SHOW[] = {"memleak", "show"};
    static const char *const SITES[] = {"memleak", "sites"};
    unsigned lines = 0;
    while (!atomic_load(&ending)) {
        CHECK(ht_console(2, SHOW, drop_line, &lines));
        CHECK(ht_console(2, SITES, drop_line, &lines));
    }
    return unused;
}

static void many_threads_keep_the_books(void)
{
    pthread_t workers[THREADS];
    pthread_t watcher;
    atomic_store(&ending, false);
    CHECK(ht_start(NULL, 0));
    CHECK(pthread_create(&watcher, NULL, watch, NULL) == 0);
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&workers[i], NULL, churn, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i], NULL) == 0);
    }
    atomic_store(&ending, true);
    CHECK(pthread_join(watcher, NULL) == 0);
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.live == THREADS);
    CHECK(totals.allocs == THREADS * (ROUNDS * HELD + 1u));
    CHECK(totals.frees == THREADS * ROUNDS * HELD + 0u);
    CHECK(totals.double_frees == 0 && totals.unknown_frees == 0 && totals.missed_frees == 0);
}

/* Arming and clearing while others allocate: no lock order to break, no stale index to follow. */
static void arming_and_clearing_under_load_is_safe(void)
{
    pthread_t workers[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&workers[i], NULL, churn, (void *)i) == 0);
    }
    static const char *const STOP[] = {"memleak", "0"};
    const char *const names[] = {"nobody"};
    unsigned lines = 0;
    for (int i = 0; i < 50; i++) {
        CHECK(ht_start(names, (size_t)(i & 1)));
        CHECK(ht_console(2, STOP, drop_line, &lines));
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i], NULL) == 0);
    }
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.live == 0 && !totals.on);
}

#if HT_STREAM
/* Two that pump and a console, while four allocate: what was written goes to standard output, for the decoder. */
static void write_out(void *unused, const uint8_t *bytes, size_t count)
{
    (void)unused;
    (void)fwrite(bytes, 1, count, stdout);
}

static void put_out(void *unused, const char *line)
{
    (void)unused;
    (void)fputs(line, stdout);
}

static void *pump(void *unused)
{
    while (!atomic_load(&ending)) {
        (void)ht_stream_pump(false);
    }
    return unused;
}

static void many_threads_share_one_stream(void)
{
    static const char *const BEGIN[] = {"memleak", "stream"};
    static const char *const END[] = {"memleak", "stream", "0"};
    pthread_t workers[THREADS];
    pthread_t pumps[2];
    rounds = 100;
    atomic_store(&ending, false);
    ht_stream_output(write_out, NULL);
    CHECK(ht_console(2, BEGIN, put_out, NULL));
    for (size_t i = 0; i < 2; i++) {
        CHECK(pthread_create(&pumps[i], NULL, pump, NULL) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&workers[i], NULL, churn, (void *)i) == 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i], NULL) == 0);
    }
    atomic_store(&ending, true);
    for (size_t i = 0; i < 2; i++) {
        CHECK(pthread_join(pumps[i], NULL) == 0);
    }
    CHECK(ht_console(3, END, put_out, NULL));
}
#endif

static void nothing_before(void) {}

/* A lock that some path forgot would hang here, and the runner's deadline tells. */
static void lock_is_free(void)
{
    ht_clear();
    ht_totals totals;
    ht_get_totals(&totals);
    CHECK(totals.live == 0);
}

#define TEST(name) {#name, name}

int main(int argc, char *argv[])
{
    static const struct named_test TESTS[] = {
        TEST(chain_of_main),
        TEST(chain_of_a_thread),
        TEST(a_thread_that_never_attached_has_no_stack),
        TEST(a_deep_stack_is_cut_at_the_limit),
        TEST(a_dead_threads_name_stays_its_own),
        TEST(many_threads_keep_the_books),
        TEST(arming_and_clearing_under_load_is_safe),
#if HT_STREAM
        {"stream_of_many_threads", many_threads_share_one_stream},
#endif
    };
    return run_named(argc, argv, TESTS, sizeof TESTS / sizeof TESTS[0], nothing_before, lock_is_free);
}
