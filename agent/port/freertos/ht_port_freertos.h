/* ht_port_freertos.h - the agent under FreeRTOS, heap_1 to heap_5, one core or several.
 *
 * INTO YOUR BUILD
 *   1. The last line of FreeRTOSConfig.h:     #include "ht_port_freertos.h"
 *   2. Compile the agent's src/ and this folder's one file, ht_port_freertos.c.
 *   3. In the build: -DHT_FREERTOS_HEAP=4 (the number of your heap file), and -DHT_BLOCK_SIZES=1 unless that is heap_3.
 *   4. In FreeRTOSConfig.h: configUSE_TRACE_FACILITY 1 (task numbers), configRECORD_STACK_HIGH_ADDRESS 1 (stack ends).
 *   5. RISC-V: -fno-omit-frame-pointer for everything, the kernel included.
 *   6. In the linker script: ht_text_start and ht_text_end around the code (include/ht_unwind.h).
 *   7. From your console: ht_console() for lines that begin with `memleak`.
 *
 * What the macros tell: the size of the BLOCK, header and rounding included (heap_3: the size asked for); NULL for a
 * failure, which is counted at its site. They run with the scheduler suspended, or before it starts. The heap protector
 * (configENABLE_HEAP_PROTECTOR) hides the heap's own pointers, not the blocks': nothing changes here.
 * The task number (uxTaskNumber) is set here and must not be set by the application.
 */
#ifndef HT_PORT_FREERTOS_H
#define HT_PORT_FREERTOS_H

#if !defined(configUSE_TRACE_FACILITY) || configUSE_TRACE_FACILITY != 1
#error "heaptrail needs task numbers: set configUSE_TRACE_FACILITY to 1 in FreeRTOSConfig.h, above this #include"
#endif
#if !defined(configRECORD_STACK_HIGH_ADDRESS) || configRECORD_STACK_HIGH_ADDRESS != 1
#error "heaptrail needs to know where stacks end: set configRECORD_STACK_HIGH_ADDRESS to 1 in FreeRTOSConfig.h"
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
#define traceFREE(block, bytes) ht_on_free_by((block), __builtin_return_address(0))

#define HT_FREERTOS_CREATED(tcb) ((tcb)->uxTaskNumber = ht_freertos_next_number())
#define HT_FREERTOS_SWITCHED_IN() \
    ht_freertos_switched_in(pxCurrentTCB->uxTaskNumber, (uintptr_t)(pxCurrentTCB->pxEndOfStack + 1))
#define traceTASK_CREATE(tcb) HT_FREERTOS_CREATED(tcb)
#define traceTASK_SWITCHED_IN() HT_FREERTOS_SWITCHED_IN()

uint32_t ht_freertos_next_number(void);
void ht_freertos_switched_in(uintptr_t number, uintptr_t stack_end);

#endif
#endif
