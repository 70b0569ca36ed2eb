/* The bare-metal port: see ht_port.h for what is promised and ht_port_baremetal.h for what the program must do. */
#include "ht_port_baremetal.h"

#include "ht_config.h"
#include "ht_cpu.h"
#include "ht_exidx.h"
#include "ht_port.h"
#include "ht_unwind.h"

const ht_baremetal_context *volatile ht_context;
volatile uint32_t ht_isr_depth;
extern const char ht_startup_stack_end[] __attribute__((weak));

#if !HT_CPU_LOCK
uintptr_t ht_port_lock(void) { return ht_cpu_mask(); }

void ht_port_unlock(uintptr_t saved) { ht_cpu_unmask(saved); }
#endif

static int in_interrupt(void)
{
#if defined(__riscv)
    return ht_isr_depth != 0;
#else
    return ht_cpu_exception() != 0;
#endif
}

uint32_t ht_port_thread_id(void)
{
    const ht_baremetal_context *context = ht_context;
    return in_interrupt() ? HT_ID_ISR : context != NULL ? context->id : HT_ID_STARTUP;
}

const char *ht_port_thread_name(void) { return ht_context != NULL ? ht_context->name : NULL; }

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    const ht_baremetal_context *context = ht_context;
    uintptr_t end = context != NULL ? context->stack_end : (uintptr_t)ht_startup_stack_end;
#if defined(__thumb__)
    if (in_interrupt() || end == 0) {
        end = ht_cpu_main_stack_end();
    }
#if HT_EXIDX
    return ht_unwind_exidx(pcs, max, frame, ret, end);
#else
    return ht_unwind_scan(pcs, max, frame, ret, end);
#endif
#else
    return ht_unwind_frames(pcs, max, frame, ret, end);
#endif
}
