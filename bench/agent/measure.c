/* Instructions of an allocation from a known stack of 8 frames and of its free, while LIVE other blocks are live. */
#include "board.h"
#include "heap.h"
#include "ht_port_baremetal.h"

#ifdef WITH_AGENT
#include "ht_agent.h"
#include "ht_stream.h"
#endif
#ifdef WITH_PEER
#include "peer.h"
#endif

#ifndef LIVE
#define LIVE 64
#endif
#define ROUNDS 256
#define FRAME __attribute__((noinline, noclone))

static volatile uint32_t after_call;
static void *others[LIVE];
static uint64_t allocating, freeing;

FRAME static void *f3(size_t bytes)
{
    void *block = board_malloc(bytes);
    after_call++;
    return block;
}

#define LEVEL(name, below)               \
    FRAME static void *name(size_t bytes) \
    {                                     \
        void *block = below(bytes);       \
        after_call++;                     \
        return block;                     \
    }
LEVEL(f4, f3)
LEVEL(f5, f4)
LEVEL(f6, f5)
LEVEL(f7, f6)

FRAME static void measure(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t before = board_instructions();
        void *block = f7(40); /* board_malloc, f3..f7, this function, run: 8 frames */
        uint64_t between = board_instructions();
        board_free(block);
        uint64_t after = board_instructions();
        allocating += between - before;
        freeing += after - between;
#ifdef WITH_STREAM
        static uint8_t frame[HT_WIRE_FRAME_BYTES];
        while (ht_stream_take(frame, false) != 0) { /* the reader's side is another task's, and not measured */
        }
#endif
    }
}

static void print(const char *name, uint64_t value)
{
    board_print(name);
    board_print_number((uint32_t)value);
    board_print("\n");
}

static void run(void)
{
    for (int i = 0; i < LIVE; i++) {
        others[i] = board_malloc(24);
    }
    board_free(f7(40)); /* the stacks are known from here on */
    measure();
    allocating = freeing = 0;
    measure();
    print("malloc ", allocating * 10 / ROUNDS);
    print("free ", freeing * 10 / ROUNDS);
#ifdef WITH_AGENT
    ht_site site;
    for (uint32_t i = 0; ht_get_site(i, &site); i++) {
        if (site.allocs >= ROUNDS) {
            print("depth ", site.stack.depth);
        }
    }
#endif
#ifdef WITH_PEER
    print("record ", peer_record_bytes());
#endif
    board_stop(0);
}

int main(void)
{
    static _Alignas(16) char stack[4096];
    static void *main_stack;
    static ht_baremetal_context context = {.id = 50, .name = "AudioRender"};
    context.stack_end = (uintptr_t)(stack + sizeof stack);
    ht_context = &context;
#ifdef WITH_AGENT
    if (WITH_AGENT) {
        (void)ht_start(NULL, 0);
#ifdef WITH_STREAM
        ht_stream_begin();
#endif
    }
#endif
    board_switch(&main_stack, board_new_stack(stack + sizeof stack, run));
    return 1;
}
