/* ht_port_baremetal.h - the agent on a bare RISC-V or Cortex-M: no kernel, or a small one of your own.
 *
 * INTO YOUR BUILD
 *   1. Compile the agent's src/ and ht_port_baremetal.c. RISC-V: everything with -fno-omit-frame-pointer.
 *   2. In the linker script, put ht_text_start and ht_text_end around the code:
 *          .text : { ht_text_start = .; *(.text*); ht_text_end = .; }
 *      and, for the build id, ht_build_id_note = .; KEEP(*(.note.gnu.build-id)) beside it.
 *   3. Where your code switches stacks, set ht_context to the one that will run. As long as it is NULL, allocations
 *      count as start-up code's, and their stack ends at ht_startup_stack_end, a symbol that you may define (Cortex-M
 *      takes it from the vector table).
 *   4. RISC-V: count ht_isr_depth up and down in the trap handler. Cortex-M tells by itself.
 */
#ifndef HT_PORT_BAREMETAL_H
#define HT_PORT_BAREMETAL_H

#include <stdint.h>

typedef struct {
    uint32_t id;         /* 1 and up, never given twice */
    const char *name;
    uintptr_t stack_end; /* the highest address of its stack, plus one word */
} ht_baremetal_context;

extern const ht_baremetal_context *volatile ht_context;
extern volatile uint32_t ht_isr_depth;

/* Contradictions. */
#if defined(HT_BACKTRACE_FRAMES) && defined(HT_BACKTRACE_SCAN)
#error "HT_BACKTRACE_FRAMES and HT_BACKTRACE_SCAN exclude each other: leave both out, the CPU decides"
#endif
#if defined(HT_BACKTRACE_FRAMES) && defined(__thumb__)
#error "HT_BACKTRACE_FRAMES finds nothing in Thumb code (GCC's r7 is no chain): use HT_BACKTRACE_SCAN"
#endif
#if defined(HT_BACKTRACE_SCAN) && !defined(__thumb__)
#error "HT_BACKTRACE_SCAN knows Thumb calls only: use HT_BACKTRACE_FRAMES with -fno-omit-frame-pointer"
#endif

#endif
