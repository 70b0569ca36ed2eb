/* The FreeRTOS port: see ht_port.h for what is promised and ht_port_freertos.h for what the build must do. */
#include <FreeRTOS.h>
#include <task.h>

#include <stdatomic.h>
#include <stdbool.h>

#include "ht_cpu.h"
#include "ht_exidx.h"
#include "ht_port.h"
#include "ht_port_freertos.h"
#include "ht_unwind.h"

#if defined(configNUMBER_OF_CORES)
#define CORES configNUMBER_OF_CORES
#elif defined(configNUM_CORES) /* the name in V202110.00-SMP */
#define CORES configNUM_CORES
#else
#define CORES 1
#endif
#if CORES > 1
#define THIS_CORE() portGET_CORE_ID()
#else
#define THIS_CORE() 0
#endif

/* Who runs, kept at each switch: asking the kernel in the hook would cost more than the backtrace. */
static struct {
    uint32_t number;
    uintptr_t stack_end;
    const char *name; /* in the task's control block, which lives while it runs */
} running[CORES];

static bool started;
extern const char ht_startup_stack_end[] __attribute__((weak));

void ht_freertos_switched_in(bool scheduler_runs, uint32_t number, uintptr_t stack_end, const char *name)
{
    started = scheduler_runs;
    running[THIS_CORE()].number = number;
    running[THIS_CORE()].stack_end = stack_end;
    running[THIS_CORE()].name = name;
}

#if defined(HT_FREERTOS_WRAP_FREE) && HT_FREERTOS_WRAP_FREE
void __real_vPortFree(void *block);
void __wrap_vPortFree(void *block);

__attribute__((noinline, used)) void __wrap_vPortFree(void *block)
{
    ht_on_free(block);
    __real_vPortFree(block);
}
#endif

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

/* Cortex-M tells by itself: tasks are on the process stack, start-up code and interrupts on the main stack. RISC-V has no
 * such register, but the kernel's port handles interrupts on a stack of its own, just below xISRStackTop. */
#if defined(__riscv)
#if defined(configISR_STACK_SIZE_WORDS)
#define ISR_STACK_BYTES (configISR_STACK_SIZE_WORDS * sizeof(StackType_t))
#elif defined(HT_FREERTOS_ISR_STACK_BYTES)
#define ISR_STACK_BYTES HT_FREERTOS_ISR_STACK_BYTES
#else
#error "to tell interrupts by their stack: set configISR_STACK_SIZE_WORDS, or, where the linker script makes __freertos_irq_stack_top, -DHT_FREERTOS_ISR_STACK_BYTES=2048 with that stack's size"
#endif
extern const StackType_t xISRStackTop;
static bool in_interrupt(void)
{
    uintptr_t below_top = (uintptr_t)xISRStackTop - (uintptr_t)__builtin_frame_address(0);
    return below_top <= ISR_STACK_BYTES;
}
static bool before_start(void) { return !started; } /* asked first: start-up code may use that stack, too */
#else
static bool in_interrupt(void) { return ht_cpu_exception() != 0; }
static bool before_start(void) { return !ht_cpu_on_process_stack() && !in_interrupt(); }
#endif

uint32_t ht_port_thread_id(void)
{
    /* Before the start, the "current task" is whichever was created last at top priority. */
    return before_start() ? HT_ID_STARTUP : in_interrupt() ? HT_ID_ISR : running[THIS_CORE()].number;
}

const char *ht_port_thread_name(void) { return running[THIS_CORE()].name; }

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    uintptr_t end = running[THIS_CORE()].stack_end;
#if defined(__thumb__)
    if (!ht_cpu_on_process_stack()) {
        end = ht_cpu_main_stack_end();
    }
#if HT_EXIDX
    return ht_unwind_exidx(pcs, max, frame, ret, end);
#else
    return ht_unwind_scan(pcs, max, frame, ret, end);
#endif
#else
    if (before_start()) {
        end = (uintptr_t)ht_startup_stack_end; /* 0 where the program does not define it: no stack */
    } else if (in_interrupt()) {
        end = (uintptr_t)xISRStackTop;
    }
    return ht_unwind_frames(pcs, max, frame, ret, end);
#endif
}
