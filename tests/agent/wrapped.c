/* Linked with @ht_wrap.opts: every way to a block is seen, once, with the size that was asked for. */
#define _GNU_SOURCE
#include <malloc.h>

#include "check.h"
#include "ht_agent.h"
#include "ht_port_posix.h"

static ht_totals totals(void)
{
    ht_totals now;
    ht_get_totals(&now);
    return now;
}

static ht_block newest(void)
{
    ht_cursor cursor = {0};
    ht_block block;
    CHECK(ht_next_block(&cursor, &block));
    return block;
}

static void seen(const void *block, uint32_t bytes)
{
    CHECK(block != NULL && newest().address == (uintptr_t)block && newest().requested_bytes == bytes);
}

static void before_each(void)
{
    HT_POSIX_ATTACH();
    CHECK(ht_start(NULL, 0));
}

static void after_each(void)
{
    CHECK(totals().live == 0 && totals().missed_frees == 0 && totals().unknown_frees == 0);
    ht_clear();
}

static void each_way_to_a_block_is_seen_once(void)
{
    void *volatile blocks[5] = {malloc(11), calloc(3, 7), strdup("seven"), memalign(64, 13), aligned_alloc(16, 32)};
    seen(blocks[4], 32);
    CHECK(totals().allocs == 5);
    static const uint32_t BYTES[] = {32, 13, 6, 21, 11};
    ht_cursor cursor = {0};
    ht_block block;
    for (int i = 0; i < 5; i++) {
        CHECK(ht_next_block(&cursor, &block) && block.requested_bytes == BYTES[i]);
        CHECK(block.address == (uintptr_t)blocks[4 - i]);
    }
    CHECK(((char *)blocks[1])[20] == 0 && strcmp(blocks[2], "seven") == 0);
    for (int i = 0; i < 5; i++) {
        free(blocks[i]);
    }
    CHECK(totals().frees == 5);
}

static void realloc_follows_the_block(void)
{
    char *volatile block = realloc(NULL, 10);
    seen(block, 10);
    block = realloc(block, 100000);
    seen(block, 100000);
    CHECK(totals().allocs == 1);
    free(block);
}

static void a_calloc_that_overflows_is_a_failure(void)
{
    volatile size_t many = SIZE_MAX / 2;
    void *volatile none = calloc(many, 3);
    CHECK(none == NULL && totals().failed == 1);
}

#define TEST(name) {#name, name}

int main(int argc, char *argv[])
{
    static const struct named_test TESTS[] = {
        TEST(each_way_to_a_block_is_seen_once),
        TEST(realloc_follows_the_block),
        TEST(a_calloc_that_overflows_is_a_failure),
    };
    return run_named(argc, argv, TESTS, sizeof TESTS / sizeof TESTS[0], before_each, after_each);
}
