/* The FreeRTOS port: see ht_port.h for what is promised and ht_port_freertos.h for what the build must do. */
#include <FreeRTOS.h>
#include <task.h>

#include <stdatomic.h>

#include "ht_cpu.h"
#include "ht_port.h"
#include "ht_port_freertos.h"
#include "ht_unwind.h"

#if defined(configNUMBER_OF_CORES) && configNUMBER_OF_CORES > 1
#define CORES configNUMBER_OF_CORES
#define THIS_CORE() portGET_CORE_ID()
#else
#define CORES 1
#define THIS_CORE() 0
#endif

/* Who runs, kept at each switch: asking the kernel in the hook would cost more than the backtrace. */
static struct {
    uint32_t number;
    uintptr_t stack_end;
} running[CORES];

static atomic_uint numbers;
extern const char ht_startup_stack_end[] __attribute__((weak));

uint32_t ht_freertos_next_number(void) { return atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1; }

void ht_freertos_switched_in(uintptr_t number, uintptr_t stack_end)
{
    running[THIS_CORE()].number = (uint32_t)number;
    running[THIS_CORE()].stack_end = stack_end;
}

/* Interrupts off on this core, and the other cores kept out. A core without exclusive access (Cortex-M0+) must bring a
 * lock of its own, such as a hardware spin lock. */
#if CORES > 1 && !defined(HT_FREERTOS_SPIN)
#if defined(__ARM_ARCH_6M__)
#error "this core has no atomic exchange: define HT_FREERTOS_SPIN() and HT_FREERTOS_UNSPIN() with your hardware spin lock"
#endif
static atomic_flag spinning = ATOMIC_FLAG_INIT;
#define HT_FREERTOS_SPIN() \
    while (atomic_flag_test_and_set_explicit(&spinning, memory_order_acquire)) {}
#define HT_FREERTOS_UNSPIN() atomic_flag_clear_explicit(&spinning, memory_order_release)
#elif CORES == 1
#define HT_FREERTOS_SPIN()
#define HT_FREERTOS_UNSPIN()
#endif

#if HT_CPU_LOCK && CORES > 1
#error "HT_CPU_LOCK keeps interrupts out, not another core: set HT_CPU_LOCK=0 for configNUMBER_OF_CORES above 1"
#endif
#if !HT_CPU_LOCK
uintptr_t ht_port_lock(void)
{
    uintptr_t before = ht_cpu_mask();
    HT_FREERTOS_SPIN();
    return before;
}

void ht_port_unlock(uintptr_t saved)
{
    HT_FREERTOS_UNSPIN();
    ht_cpu_unmask(saved);
}
#endif

/* Cortex-M tells by itself. RISC-V has no such register, but the kernel's port handles interrupts on a stack of its own,
 * just below xISRStackTop. */
#if defined(__riscv)
#ifndef configISR_STACK_SIZE_WORDS
#error "set configISR_STACK_SIZE_WORDS, so that the agent can tell interrupts by their stack"
#endif
extern const StackType_t xISRStackTop;
static int in_interrupt(void)
{
    uintptr_t below_top = (uintptr_t)xISRStackTop - (uintptr_t)__builtin_frame_address(0);
    return below_top <= configISR_STACK_SIZE_WORDS * sizeof(StackType_t);
}
#else
static int in_interrupt(void) { return ht_cpu_exception() != 0; }
#endif

static int before_start(void) { return xTaskGetSchedulerState() == taskSCHEDULER_NOT_STARTED; }

uint32_t ht_port_thread_id(void)
{
    /* Before the start, the "current task" is whichever was created last at top priority. */
    return before_start() ? HT_ID_STARTUP : in_interrupt() ? HT_ID_ISR : running[THIS_CORE()].number;
}

const char *ht_port_thread_name(void) { return pcTaskGetName(NULL); }

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    uintptr_t end = running[THIS_CORE()].stack_end;
#if defined(__thumb__)
    if (in_interrupt() || before_start()) {
        end = ht_cpu_main_stack_end();
    }
    return ht_unwind_scan(pcs, max, frame, ret, end);
#else
    if (before_start()) {
        end = (uintptr_t)ht_startup_stack_end; /* 0 where the program does not define it: no stack */
    } else if (in_interrupt()) {
        end = (uintptr_t)xISRStackTop;
    }
    return ht_unwind_frames(pcs, max, frame, ret, end);
#endif
}
