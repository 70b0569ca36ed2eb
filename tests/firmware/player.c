/* A program of several contexts that leaks in known places; it prints what the agent has to say.
 *
 * Each call of the chains below has a comment `CALL function` in its own line: the test looks the lines up by it. */
#include "board.h"
#include "heap.h"
#include "ht_agent.h"
#include "ht_port_baremetal.h"

#define FRAME __attribute__((noinline, noclone))
#define STACK_BYTES 4096u

static volatile uint32_t after_call; /* written after each call, so that no call is a tail call */
static void *held[8];

/* -- The chains -------------------------------------------------------------------------------------------------------- */

FRAME static void *softvol_update(void)
{
    void *block = board_calloc(0x60); /* CALL softvol_update */
    after_call++;
    return block;
}

FRAME static void *resample_update(void)
{
    volatile uint32_t unused[24]; /* an array that is hardly written: what lay in the stack before is still there */
    unused[0] = 1;
    void *block = board_calloc(0x50); /* CALL resample_update */
    after_call += unused[0];
    return block;
}

FRAME static void *track_start(int which)
{
    void *block;
    if (which != 0) {
        block = resample_update(); /* CALL track_start resample */
    } else {
        block = softvol_update(); /* CALL track_start softvol */
    }
    after_call++;
    return block;
}

FRAME static void *start_device(int which)
{
    void *block = track_start(which); /* CALL start_device */
    after_call++;
    return block;
}

FRAME static void *render(int which)
{
    void *block = start_device(which); /* CALL render */
    after_call++;
    return block;
}

FRAME static void cycle(void)
{
    void *lost = render(0); /* CALL cycle softvol */
    void *kept = render(1); /* CALL cycle resample */
    after_call += lost == kept;
    held[after_call % 4] = kept;
}

FRAME static void destroy(void *block)
{
    board_free(block); /* CALL destroy */
    after_call++;
}

/* -- Contexts ----------------------------------------------------------------------------------------------------------- */

struct context {
    void *stack_pointer;
    ht_baremetal_context told;
    _Alignas(16) char stack[STACK_BYTES];
};

static struct context contexts[2];
static void *main_stack_pointer;

static void yield_from(struct context *context)
{
    ht_context = NULL;
    board_switch(&context->stack_pointer, main_stack_pointer);
}

static void resume(struct context *context)
{
    ht_context = &context->told;
    board_switch(&main_stack_pointer, context->stack_pointer);
}

FRAME static void audio_render(void)
{
    for (;;) {
        cycle(); /* CALL audio_render */
        yield_from(&contexts[0]);
    }
}

FRAME static void demux(void)
{
    for (;;) {
        void *block = board_malloc(24); /* CALL demux */
        destroy(block);                 /* CALL demux destroy */
        yield_from(&contexts[1]);
    }
}

static void create(struct context *context, uint32_t id, const char *name, void (*run)(void))
{
    char *end = context->stack + STACK_BYTES;
    context->told = (ht_baremetal_context){.id = id, .name = name, .stack_end = (uintptr_t)end};
    context->stack_pointer = board_new_stack(end, run);
}

FRAME static void in_interrupt(void)
{
    held[7] = board_malloc(8); /* CALL in_interrupt */
    after_call++;
}

static void put(void *unused, const char *line)
{
    (void)unused;
    board_print(line);
}

static void type(int argc, const char *first, const char *second)
{
    const char *argv[] = {"memleak", first, second};
    board_print("board>memleak ");
    board_print(first);
    board_print(second != NULL ? " " : "");
    board_print(second != NULL ? second : "");
    board_print("\n");
    (void)ht_console(argc, argv, put, NULL);
    board_print("board>\n");
}

int main(void)
{
    create(&contexts[0], 50, "AudioRender", audio_render);
    create(&contexts[1], 47, "Tmr Svc", demux);
    board_on_interrupt = in_interrupt;
    type(2, "1", NULL);
    held[6] = board_malloc(40); /* CALL main */
    for (int round = 0; round < 3; round++) {
        resume(&contexts[0]);
        resume(&contexts[1]);
    }
    board_interrupt();
    (void)board_malloc(1u << 30); /* fails */
    type(2, "sites", NULL);
    type(3, "show", "compact");
    type(2, "0", NULL);
    return 0;
}
