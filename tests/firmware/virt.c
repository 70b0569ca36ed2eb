/* RV64 on QEMU's `virt`: a 16550 UART, the test device that stops QEMU, machine mode throughout. */
#include "board.h"

#include "ht_port_baremetal.h"

#define UART ((volatile uint8_t *)0x10000000)
#define TEST_DEVICE ((volatile uint32_t *)0x100000)

void board_put(char letter)
{
    while ((UART[5] & 0x20u) == 0) {
    }
    UART[0] = (uint8_t)letter;
}

void board_stop(int status)
{
    *TEST_DEVICE = status == 0 ? 0x5555u : ((uint32_t)status << 16) | 0x3333u;
    for (;;) {
    }
}

uint64_t board_instructions(void)
{
    uint64_t now;
    __asm__ volatile("csrr %0, minstret" : "=r"(now) : : "memory");
    return now;
}

__attribute__((naked)) void board_switch(void **from, void *to)
{
    (void)from, (void)to;
    __asm__ volatile("addi sp, sp, -112\n"
                     "sd ra, 0(sp)\n sd s0, 8(sp)\n sd s1, 16(sp)\n sd s2, 24(sp)\n sd s3, 32(sp)\n sd s4, 40(sp)\n"
                     "sd s5, 48(sp)\n sd s6, 56(sp)\n sd s7, 64(sp)\n sd s8, 72(sp)\n sd s9, 80(sp)\n sd s10, 88(sp)\n"
                     "sd s11, 96(sp)\n sd sp, 0(a0)\n mv sp, a1\n"
                     "ld ra, 0(sp)\n ld s0, 8(sp)\n ld s1, 16(sp)\n ld s2, 24(sp)\n ld s3, 32(sp)\n ld s4, 40(sp)\n"
                     "ld s5, 48(sp)\n ld s6, 56(sp)\n ld s7, 64(sp)\n ld s8, 72(sp)\n ld s9, 80(sp)\n ld s10, 88(sp)\n"
                     "ld s11, 96(sp)\n addi sp, sp, 112\n ret\n");
}

/* Ends the chain of calls: `run` returns to nowhere. */
__attribute__((naked)) static void enter(void) { __asm__ volatile("li ra, 0\n jr s1\n"); }

void *board_new_stack(void *end, void (*run)(void))
{
    uint64_t *frame = (uint64_t *)end - 14;
    for (int i = 0; i < 14; i++) {
        frame[i] = 0;
    }
    frame[0] = (uint64_t)enter;
    frame[2] = (uint64_t)run;
    return frame;
}

void board_interrupt(void) { __asm__ volatile("ecall" : : : "memory"); }

__attribute__((used)) static void on_trap(void)
{
    ht_isr_depth++;
    board_on_interrupt();
    ht_isr_depth--;
    uintptr_t at;
    __asm__ volatile("csrr %0, mepc" : "=r"(at));
    __asm__ volatile("csrw mepc, %0" : : "r"(at + 4));
}

__attribute__((naked, aligned(4))) static void trap(void)
{
    __asm__ volatile("addi sp, sp, -128\n"
                     "sd ra, 0(sp)\n sd t0, 8(sp)\n sd t1, 16(sp)\n sd t2, 24(sp)\n sd a0, 32(sp)\n sd a1, 40(sp)\n"
                     "sd a2, 48(sp)\n sd a3, 56(sp)\n sd a4, 64(sp)\n sd a5, 72(sp)\n sd a6, 80(sp)\n sd a7, 88(sp)\n"
                     "sd t3, 96(sp)\n sd t4, 104(sp)\n sd t5, 112(sp)\n sd t6, 120(sp)\n call on_trap\n"
                     "ld ra, 0(sp)\n ld t0, 8(sp)\n ld t1, 16(sp)\n ld t2, 24(sp)\n ld a0, 32(sp)\n ld a1, 40(sp)\n"
                     "ld a2, 48(sp)\n ld a3, 56(sp)\n ld a4, 64(sp)\n ld a5, 72(sp)\n ld a6, 80(sp)\n ld a7, 88(sp)\n"
                     "ld t3, 96(sp)\n ld t4, 104(sp)\n ld t5, 112(sp)\n ld t6, 120(sp)\n addi sp, sp, 128\n mret\n");
}

__attribute__((used, noreturn)) static void begin(void)
{
    extern char bss_start[], bss_end[];
    for (char *at = bss_start; at < bss_end; at++) {
        *at = 0;
    }
    __asm__ volatile("csrw mtvec, %0" : : "r"(trap));
    board_stop(main());
}

__attribute__((naked, section(".start"))) void _start(void)
{
    __asm__ volatile("la sp, ht_startup_stack_end\n li s0, 0\n call begin\n");
}
