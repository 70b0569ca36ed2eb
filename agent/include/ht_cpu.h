/* ht_cpu.h - what ports for bare CPUs need of the CPU: masking interrupts, and whether one is being handled. */
#ifndef HT_CPU_H
#define HT_CPU_H

#include <stdint.h>

#if defined(__riscv)

static inline uintptr_t ht_cpu_mask(void)
{
    uintptr_t before;
    __asm__ volatile("csrrci %0, mstatus, 8" : "=r"(before) : : "memory");
    return before; /* all of it: to set bits again that are set still does nothing */
}

static inline void ht_cpu_unmask(uintptr_t before) { __asm__ volatile("csrs mstatus, %0" : : "r"(before) : "memory"); }

#elif defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'

/* PRIMASK, not BASEPRI: an interrupt above the kernel's ceiling may allocate, too, though it should not. */
static inline uintptr_t ht_cpu_mask(void)
{
    uintptr_t before;
    __asm__ volatile("mrs %0, primask\n cpsid i" : "=r"(before) : : "memory");
    return before;
}

static inline void ht_cpu_unmask(uintptr_t before) { __asm__ volatile("msr primask, %0" : : "r"(before) : "memory"); }

/* The exception number, 0 in thread mode. */
static inline uint32_t ht_cpu_exception(void)
{
    uint32_t number;
    __asm__ volatile("mrs %0, ipsr" : "=r"(number));
    return number;
}

/* Whether this code runs on the process stack; interrupts never do. */
static inline uint32_t ht_cpu_on_process_stack(void)
{
    uint32_t control;
    __asm__ volatile("mrs %0, control" : "=r"(control));
    return control & 2u;
}

/* Where the main stack begins, which start-up code and interrupts run on: the first word of the vector table. */
static inline uintptr_t ht_cpu_main_stack_end(void)
{
    uintptr_t table = *(volatile const uint32_t *)0xe000ed08u; /* VTOR; 0 on parts without one, where the table is at 0 */
    return *(volatile const uint32_t *)table;
}

#else
#error "ht_cpu.h knows RISC-V (machine mode) and Cortex-M: for another CPU set HT_CPU_LOCK=0 and write these functions in your port"
#endif
#endif
