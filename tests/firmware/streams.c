/* Some hundred allocations and frees of two contexts, streamed over the UART between lines of text. The program keeps books of
 * its own and prints them in the end, one line a block: `life NUMBER ADDRESS SIZE SITE BORN DIED`, with events counted from 0. */
#include "board.h"
#include "heap.h"
#include "ht_agent.h"
#include "ht_port_baremetal.h"
#include "ht_stream.h"

#define FRAME __attribute__((noinline, noclone))
#define STACK_BYTES 4096u
#define LIVES 400u
#define HELD 24u

static volatile uint32_t after_call; /* written after each call, so that no call is a tail call */

static struct {
    void *address;
    uint32_t size, site, born, died;
} lives[LIVES];
static uint32_t lives_count, events_count, held[HELD];

static uint32_t random_below(uint32_t limit)
{
    static uint32_t state = 12345u;
    state = state * 1664525u + 1013904223u;
    return (state >> 16) % limit;
}

FRAME static void *softvol_update(size_t bytes)
{
    void *block = board_malloc(bytes); /* CALL softvol_update */
    after_call++;
    return block;
}

FRAME static void *resample_update(size_t bytes)
{
    void *block = board_calloc(bytes); /* CALL resample_update */
    after_call++;
    return block;
}

FRAME static void softvol_destroy(void *block)
{
    board_free(block); /* CALL softvol_destroy */
    after_call++;
}

static void one_step(void)
{
    uint32_t slot = random_below(HELD);
    if (held[slot] != 0) {
        uint32_t life = held[slot] - 1;
        lives[life].died = events_count++;
        held[slot] = 0;
        softvol_destroy(lives[life].address);
    } else if (lives_count < LIVES) {
        uint32_t site = random_below(2);
        uint32_t size = 8u + 8u * random_below(40);
        uint32_t life = lives_count++;
        lives[life].address = site == 0 ? softvol_update(size) : resample_update(size);
        lives[life].size = size;
        lives[life].site = site;
        lives[life].born = events_count++;
        held[slot] = life + 1;
    }
}

struct context {
    void *stack_pointer;
    ht_baremetal_context told;
    _Alignas(16) char stack[STACK_BYTES];
};

static struct context contexts[2];
static void *main_stack_pointer;

static void audio_render(void)
{
    for (uint32_t me = 0;; after_call++) {
        for (uint32_t i = 0; i < 5; i++) {
            one_step();
        }
        ht_context = NULL;
        board_switch(&contexts[me].stack_pointer, main_stack_pointer);
    }
}

static void demux(void)
{
    for (;; after_call++) {
        one_step();
        ht_context = NULL;
        board_switch(&contexts[1].stack_pointer, main_stack_pointer);
    }
}

static void create(struct context *context, uint32_t id, const char *name, void (*run)(void))
{
    char *end = context->stack + STACK_BYTES;
    context->told = (ht_baremetal_context){.id = id, .name = name, .stack_end = (uintptr_t)end};
    context->stack_pointer = board_new_stack(end, run);
}

static void put(void *unused, const char *line)
{
    (void)unused;
    board_print(line);
}

static void send(void *unused, const uint8_t *bytes, size_t count)
{
    (void)unused;
    for (size_t i = 0; i < count; i++) {
        board_put((char)bytes[i]);
    }
}

static void type(int argc, const char *first, const char *second)
{
    const char *argv[] = {"memleak", first, second};
    (void)ht_console(argc, argv, put, NULL);
}

static void print_life(uint32_t life)
{
    const uint32_t numbers[] = {lives[life].size, lives[life].site, lives[life].born};
    board_print("life ");
    board_print_number(life);
    board_print(" ");
    board_print_hex((uintptr_t)lives[life].address);
    for (size_t i = 0; i < 3; i++) {
        board_print(" ");
        board_print_number(numbers[i]);
    }
    board_print(" ");
    if (lives[life].died == 0) {
        board_print("-");
    } else {
        board_print_number(lives[life].died);
    }
    board_print("\n");
}

int main(void)
{
    create(&contexts[0], 50, "AudioRender", audio_render);
    create(&contexts[1], 47, "Tmr Svc", demux);
    ht_stream_output(send, NULL);
    type(2, "stream", NULL);
    for (uint32_t round = 0; round < 80; round++) {
        for (size_t i = 0; i < 2; i++) {
            ht_context = &contexts[i].told;
            board_switch(&main_stack_pointer, contexts[i].stack_pointer);
        }
        events_count++;
        ht_stream_mark(HT_WIRE_CYCLE, round);
        while (ht_stream_pump(false)) {
        }
        if (round % 8 == 0) {
            board_print("a line of another task\n");
        }
    }
    type(3, "stream", "0");
    for (uint32_t life = 0; life < lives_count; life++) {
        print_life(life);
    }
    return 0;
}
