/* ht_port_freertos.h - the agent under FreeRTOS V8 to V11, heap_1 to heap_5, one core or several.
 *
 * INTO YOUR BUILD
 *   1. The last line of FreeRTOSConfig.h:     #include "ht_port_freertos.h"
 *   2. Compile the agent's src/ and this folder's one file, ht_port_freertos.c.
 *   3. In the build: -DHT_FREERTOS_HEAP=4 (the number of your heap file), and -DHT_BLOCK_SIZES=1 unless that is heap_3.
 *   4. In FreeRTOSConfig.h: configUSE_TRACE_FACILITY 1 (task numbers), configRECORD_STACK_HIGH_ADDRESS 1 (stack ends).
 *      V8 and V9 know no stack ends: leave that one out, and build with -DHT_FREERTOS_KERNEL=9.
 *   5. RISC-V: -fno-omit-frame-pointer for everything, the kernel included.
 *   6. In the linker script: ht_text_start and ht_text_end around the code (include/ht_unwind.h).
 *   7. From your console: ht_console() for lines that begin with `memleak`.
 *
 * WHAT THE MACROS TELL
 *   The size of the BLOCK, header and rounding included (heap_3: the size asked for). Up to V11.1 that is what was
 *   wanted; later kernels tell the block that was taken, which may be a little larger, and 0 for a failure. They run
 *   with the scheduler suspended, or before it starts. The heap protector (configENABLE_HEAP_PROTECTOR) hides the
 *   heap's own pointers, not the blocks': nothing changes here. Tasks have the kernel's numbers, those of vTaskList.
 *
 * DOUBLE FREES
 *   heap_4 and heap_5 stop at an assertion, or return, before the macro: it never hears of a double free, nor of a free
 *   of NULL. To have both reported: -DHT_FREERTOS_WRAP_FREE=1 and, to the linker, -Wl,--wrap=vPortFree.
 */
#ifndef HT_PORT_FREERTOS_H
#define HT_PORT_FREERTOS_H

#ifndef HT_FREERTOS_KERNEL
#define HT_FREERTOS_KERNEL 10
#endif
#if !defined(configUSE_TRACE_FACILITY) || configUSE_TRACE_FACILITY != 1
#error "heaptrail needs task numbers: set configUSE_TRACE_FACILITY to 1 in FreeRTOSConfig.h, above this #include"
#endif
#if HT_FREERTOS_KERNEL >= 10 && (!defined(configRECORD_STACK_HIGH_ADDRESS) || configRECORD_STACK_HIGH_ADDRESS != 1)
#error "heaptrail needs to know where stacks end: set configRECORD_STACK_HIGH_ADDRESS to 1 in FreeRTOSConfig.h, or, for a kernel of V8 or V9, -DHT_FREERTOS_KERNEL=9"
#endif
#if HT_FREERTOS_KERNEL < 10 && !defined(__thumb__)
#error "kernels before V10 are supported on Cortex-M only: elsewhere call the hooks yourself, see port/template"
#endif
#ifndef HT_FREERTOS_HEAP
#error "say which heap_N.c is linked: -DHT_FREERTOS_HEAP=4"
#endif
#if HT_FREERTOS_HEAP < 1 || HT_FREERTOS_HEAP > 5
#error "HT_FREERTOS_HEAP must be 1..5, the number of heap_N.c"
#endif
#if defined(traceMALLOC) || defined(traceFREE)
#error "traceMALLOC or traceFREE is taken by another tracer: call ht_on_malloc and ht_on_free_by from it instead"
#endif
#if defined(traceTASK_CREATE) || defined(traceTASK_SWITCHED_IN)
#error "traceTASK_CREATE or traceTASK_SWITCHED_IN is taken: call HT_FREERTOS_CREATED and HT_FREERTOS_SWITCHED_IN from it"
#endif

/* FreeRTOSConfig.h is also read by assembler files. */
#ifndef __ASSEMBLER__

#include "ht_agent.h"

#if HT_FREERTOS_HEAP == 3 && HT_BLOCK_SIZES
#error "heap_3 tells the size asked for: leave HT_BLOCK_SIZES out, or set it to 0"
#endif
#if HT_FREERTOS_HEAP != 3 && !HT_BLOCK_SIZES
#error "traceMALLOC tells the size of the block: set -DHT_BLOCK_SIZES=1, so that dumps say so"
#endif

/* The kernel's macros are expanded inside pvPortMalloc, vPortFree and tasks.c. */
#define traceMALLOC(block, bytes) ht_on_malloc((block), (bytes), 0)
#if defined(HT_FREERTOS_WRAP_FREE) && HT_FREERTOS_WRAP_FREE
#elif HT_FREERTOS_HEAP == 3
/* It tells after free(), the scheduler still suspended. The address is only looked up, which compilers that warn of a use
 * after free cannot know: it is read again from where it is kept. `block` is a variable there: heap_3.c's pv. */
#define traceFREE(block, bytes) ht_on_free_by(*(void *volatile *)&(block), __builtin_return_address(0))
#else
#define traceFREE(block, bytes) ht_on_free_by((block), __builtin_return_address(0))
#endif

/* A new task's first frame, which the port has just made, ends where its stack does: 16 words on a Cortex-M, 17 with an
 * FPU, of which the last is then given up. The kernel leaves uxTaskNumber to tracers; before V10 it keeps that end. */
#if HT_FREERTOS_KERNEL >= 10
#define HT_FREERTOS_STACK_END(tcb) ((uintptr_t)((tcb)->pxEndOfStack + 1))
#define HT_FREERTOS_NOTE_STACK_END(tcb)
#else
#define HT_FREERTOS_STACK_END(tcb) ((uintptr_t)(tcb)->uxTaskNumber)
#define HT_FREERTOS_NOTE_STACK_END(tcb) (tcb)->uxTaskNumber = (UBaseType_t)((tcb)->pxTopOfStack + 16);
#endif

#define HT_FREERTOS_SWITCHED_IN()                                                                 \
    ht_freertos_switched_in(xSchedulerRunning != 0, (uint32_t)pxCurrentTCB->uxTCBNumber,          \
                            HT_FREERTOS_STACK_END(pxCurrentTCB), (const char *)pxCurrentTCB->pcTaskName)
/* Kernels before V10.2 do not tell of the first task that they switch to: it is the one that is current at the start. */
#define HT_FREERTOS_CREATED(tcb)                          \
    do {                                                  \
        HT_FREERTOS_NOTE_STACK_END(tcb)                   \
        if (xSchedulerRunning == 0 && pxCurrentTCB != 0) { \
            HT_FREERTOS_SWITCHED_IN();                    \
        }                                                 \
    } while (0)
#define traceTASK_CREATE(tcb) HT_FREERTOS_CREATED(tcb)
#define traceTASK_SWITCHED_IN() HT_FREERTOS_SWITCHED_IN()

void ht_freertos_switched_in(bool scheduler_runs, uint32_t number, uintptr_t stack_end, const char *name);

#endif
#endif
