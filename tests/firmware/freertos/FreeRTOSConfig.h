/* The example's configuration; the tests switch single lines off. */
#ifndef FREERTOS_CONFIG_H
#define FREERTOS_CONFIG_H
#ifndef WITHOUT_TRACE_FACILITY
#define configUSE_TRACE_FACILITY 1
#endif
#ifndef WITHOUT_STACK_ENDS
#define configRECORD_STACK_HIGH_ADDRESS 1
#endif
#ifndef WITHOUT_ISR_STACK
#define configISR_STACK_SIZE_WORDS 256
#endif
#ifdef WITH_ANOTHER_TRACER
#define traceMALLOC(block, bytes) another_tracer(block, bytes)
#endif
#include "ht_port_freertos.h"
#endif
