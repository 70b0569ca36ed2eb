/* One allocation in each half of the address space, told to the wire and printed in hex: what a 32-bit CPU makes of it. */
#include "board.h"
#include "ht_wire.h"

volatile uint32_t ht_isr_depth; /* the board counts it */
static ht_wire_frame frames[4];
static ht_wire_row rows[3];
static ht_wire wire;

static size_t stack_of(void *context, uint32_t number, uintptr_t *pcs, size_t max)
{
    static const uintptr_t STACKS[2][3] = {{0x08000100u, 0x08000200u, 0x08000180u}, {0x800044e6u, 0xfffffff0u, 0x10u}};
    (void)context;
    for (size_t i = 0; i < 3 && i < max; i++) {
        pcs[i] = STACKS[number - 1][i];
    }
    return 3;
}

static const char *task_of(void *context, uint8_t number, uint32_t *id)
{
    (void)context, (void)number;
    *id = 1;
    return "high";
}

int main(void)
{
    ht_wire_config config = {.frames = frames, .frame_count = 4, .rows = rows, .row_count = 3, .stack = stack_of, .task = task_of};
    if (!ht_wire_open(&wire, &config)) {
        return 1;
    }
    ht_wire_alloc(&wire, 0x20000010u, 16, 1, 0, 0);
    ht_wire_alloc(&wire, 0x90000020u, 32, 2, 0, 0);
    ht_wire_flush(&wire);
    static uint8_t frame[HT_WIRE_FRAME_BYTES];
    for (size_t picked; (picked = ht_wire_pick(&wire, frame)) != 0;) {
        size_t bytes = ht_wire_seal(frame, picked);
        for (size_t i = 0; i < bytes; i++) {
            board_print(frame[i] < 16 ? "0" : "");
            board_print_hex(frame[i]);
        }
    }
    return 0;
}
