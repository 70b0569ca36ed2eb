/* A port to start from. Copy this file to port/<your rtos>/ht_port_<your rtos>.c and follow the numbered steps; what
 * each function promises stands in ht_port.h. As it is, the file compiles and is right for one task without interrupts
 * (names and stacks are then unknown, and the dump says "no stack"): steps can be taken one after the other.
 */
#include "ht_port.h"

#include "ht_config.h"

/* STEP 1. Include your RTOS's headers here, and nowhere else in the agent. */

/* STEP 2. A critical section that also keeps out the interrupts that may allocate. It must work before the scheduler
 * runs and while it is suspended: mask interrupts, or (SMP) mask and take a spinlock. Return what restores the mask:
 * your allocator may hold a critical section already, and unlocking ours must not end it. */
uintptr_t ht_port_lock(void) { return 0; }

void ht_port_unlock(uintptr_t saved) { (void)saved; }

/* STEP 3. Who runs: HT_ID_ISR in an interrupt, HT_ID_STARTUP before the scheduler, else a number that is never given to
 * another task: FreeRTOS has uxTaskGetTaskNumber (configUSE_TRACE_FACILITY). On SMP, the current task of this core. */
uint32_t ht_port_thread_id(void) { return HT_ID_STARTUP; }

/* STEP 4. Its name. */
const char *ht_port_thread_name(void) { return NULL; }

/* STEP 5. Where the running task's stack ends (its highest address, for a stack that grows down), or 0 for unknown. */
static uintptr_t stack_end(void) { return 0; }

/* STEP 6. The backtrace. The walk below is right for RISC-V, AArch64 and x86-64 built with -fno-omit-frame-pointer.
 * Not for Cortex-M with GCC: r7 points at the bottom of the frame there, at distances that vary, and a walk finds
 * nothing. Scan the stack for words that follow a call instead, from above your own buffer. Never use libgcc's DWARF
 * unwinder inside a hook: on RV64 it took 150,000 instructions and 4 KB of stack. */
size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    uintptr_t here = (uintptr_t)frame;
    uintptr_t end = stack_end();
    size_t depth = 0;
    while (depth < max && end != 0) {
        pcs[depth++] = ret;
#if defined(__riscv)
        uintptr_t above = ((const uintptr_t *)here)[-2];
        uintptr_t next_ret = above > here && above <= end ? ((const uintptr_t *)above)[-1] : 0;
#else
        uintptr_t above = ((const uintptr_t *)here)[0];
        uintptr_t next_ret = above > here && above <= end - 2 * sizeof(uintptr_t) ? ((const uintptr_t *)above)[1] : 0;
#endif
        if (next_ret == 0 || above % sizeof(uintptr_t) != 0) {
            break;
        }
        here = above;
        ret = next_ret;
    }
    return depth;
}

/* STEP 7. Call the hooks (ht_agent.h) from your allocator, and check the port: `memleak 1`, allocate from a known
 * function in a task, `memleak show`. The task's name and the chain of callers, the allocator first, must be there. */
