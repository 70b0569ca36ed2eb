// Linked with ht_wrap_cxx.c: every form of new and delete is seen, once, with the size that was asked for.
#include <new>

#include "check.h"
#include "ht_agent.h"
#include "ht_port_posix.h"

extern int own_heap_frees;

struct thing {
    char bytes[40];
    virtual ~thing() {}
};

static ht_totals totals()
{
    ht_totals now;
    ht_get_totals(&now);
    return now;
}

static void seen(const void *block, uint32_t bytes)
{
    ht_cursor cursor = {};
    ht_block found;
    CHECK(ht_next_block(&cursor, &found) && found.address == (uintptr_t)block && found.requested_bytes == bytes);
}

static void before_each()
{
    HT_POSIX_ATTACH();
    CHECK(ht_start(nullptr, 0));
    own_heap_frees = 0;
}

static void after_each()
{
    ht_totals now = totals();
    CHECK(now.live == 0 && now.allocs == now.frees && now.frees == (uint32_t)own_heap_frees);
    CHECK(now.missed_frees == 0 && now.unknown_frees == 0 && now.double_frees == 0 && now.null_frees == 0);
    ht_clear();
}

static void an_object_is_seen_once()
{
    thing *volatile one = new thing;
    seen(one, sizeof(thing));
    delete one; // sized, where the compiler does so
    CHECK(totals().allocs == 1);
}

static void an_array_is_seen_once()
{
    char *volatile many = new char[100];
    seen(many, 100);
    delete[] many;
    CHECK(totals().allocs == 1);
}

static void new_without_exceptions_is_seen_once()
{
    char *volatile one = new (std::nothrow) char;
    seen(one, 1);
    delete one;
    CHECK(totals().allocs == 1);
}

static void deleting_nothing_is_no_misuse()
{
    thing *volatile none = nullptr;
    delete none;
    ::operator delete(none);
    CHECK(totals().allocs == 0);
}

#define TEST(name) {#name, name}

int main(int argc, char *argv[])
{
    static const named_test TESTS[] = {
        TEST(an_object_is_seen_once),
        TEST(an_array_is_seen_once),
        TEST(new_without_exceptions_is_seen_once),
        TEST(deleting_nothing_is_no_misuse),
    };
    return run_named(argc, argv, TESTS, sizeof TESTS / sizeof TESTS[0], before_each, after_each);
}
