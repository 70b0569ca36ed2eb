/* The two boards: print, stop, count instructions, switch stacks, take an interrupt. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_put(char letter);
void board_print(const char *text);
void board_print_number(uint32_t value);
void board_print_hex(uintptr_t value);
__attribute__((noreturn)) void board_stop(int status);

/* Instructions since some moment; QEMU must run with -icount shift=ICOUNT_SHIFT. Only differences mean anything. */
uint64_t board_instructions(void);

/* Keep the running stack pointer and callee-saved registers at *from, go on where `to` stopped. */
void board_switch(void **from, void *to);
/* A stack on which board_switch will enter `run`. */
void *board_new_stack(void *end, void (*run)(void));

/* An interrupt happens here and now, and calls board_on_interrupt. */
void board_interrupt(void);
extern void (*board_on_interrupt)(void);

int main(void);
#endif
