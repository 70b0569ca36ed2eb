/* Cortex-M3 on QEMU's `mps2-an385`: the CMSDK UART, SysTick as the instruction counter, semihosting to stop. */
#include "board.h"

#define UART ((volatile uint32_t *)0x40004000)
#define SYSTICK ((volatile uint32_t *)0xe000e010)
#define TICKS_HZ 25000000u

void board_put(char letter)
{
    while ((UART[1] & 1u) != 0) {
    }
    UART[0] = (uint32_t)letter;
}

void board_stop(int status)
{
    register uint32_t operation __asm__("r0") = 0x18;
    register uint32_t reason __asm__("r1") = status == 0 ? 0x20026u : 0x20023u;
    __asm__ volatile("bkpt 0xab" : : "r"(operation), "r"(reason) : "memory");
    for (;;) {
    }
}

/* With -icount shift=10 an instruction takes 1024 ns, 25.6 ticks of the 25 MHz clock; the counter has 24 bits, so no two
 * readings may be more than 655,000 instructions apart. */
uint64_t board_instructions(void)
{
    static uint64_t ticks;
    static uint32_t last;
    uint32_t now = 0xffffffu - SYSTICK[2];
    ticks += (now - last) & 0xffffffu;
    last = now;
    return ticks * 10u / 256u;
}

__attribute__((naked)) void board_switch(void **from, void *to)
{
    (void)from, (void)to;
    __asm__ volatile("push {r4-r11, lr}\n str sp, [r0]\n mov sp, r1\n pop {r4-r11, pc}\n");
}

/* Ends the chain of calls: `run` returns to nowhere. */
__attribute__((naked)) static void enter(void) { __asm__ volatile("movs r5, #0\n mov lr, r5\n bx r4\n"); }

void *board_new_stack(void *end, void (*run)(void))
{
    uint32_t *frame = (uint32_t *)end - 10; /* 9 words, and the stack stays aligned to 8 */
    for (int i = 0; i < 10; i++) {
        frame[i] = 0;
    }
    frame[0] = (uint32_t)run;
    frame[8] = (uint32_t)enter;
    return frame;
}

void board_interrupt(void) { __asm__ volatile("svc 0" : : : "memory"); }

__attribute__((used)) static void on_svc(void) { board_on_interrupt(); }

static void on_fault(void)
{
    board_print("fault\n");
    board_stop(3);
}

__attribute__((noreturn)) void _start(void)
{
    extern char bss_start[], bss_end[];
    for (char *at = bss_start; at < bss_end; at++) {
        *at = 0;
    }
    UART[4] = 16;
    UART[2] = 1;
    SYSTICK[1] = 0xffffffu;
    SYSTICK[2] = 0;
    SYSTICK[0] = 5;
    board_stop(main());
}

extern char stack_top[];
__attribute__((used, section(".vectors"))) static const void *const VECTORS[16] = {
    stack_top, (const void *)_start,   (const void *)on_fault, (const void *)on_fault, (const void *)on_fault,
    (const void *)on_fault, (const void *)on_fault, 0, 0, 0, 0, (const void *)on_svc,
};
