/* The kernel's places where the port's macros are expanded, around a heap that does nothing but count up. */
#include "kernel.h"

struct tskTaskControlBlock {
    volatile StackType_t *pxTopOfStack;
#ifndef WITHOUT_STACK_ENDS
    StackType_t *pxEndOfStack;
#endif
    char pcTaskName[16];
    UBaseType_t uxTCBNumber;
    UBaseType_t uxTaskNumber; /* the tracer's own */
};

TaskHandle_t volatile pxCurrentTCB;
static volatile BaseType_t xSchedulerRunning;
static UBaseType_t created;
static struct tskTaskControlBlock tasks[4];
static uint8_t heap[4096] __attribute__((aligned(16)));
static size_t taken;

TaskHandle_t kernel_create(const char *name, StackType_t *end, StackType_t *top)
{
    TaskHandle_t pxNewTCB = &tasks[created++];
    pxNewTCB->pxTopOfStack = top;
#ifndef WITHOUT_STACK_ENDS
    pxNewTCB->pxEndOfStack = end - 1; /* the highest word of it */
#else
    (void)end;
#endif
    for (size_t i = 0; i < sizeof pxNewTCB->pcTaskName - 1 && name[i] != 0; i++) {
        pxNewTCB->pcTaskName[i] = name[i];
    }
    pxNewTCB->uxTCBNumber = created;
    pxCurrentTCB = pxNewTCB;
    traceTASK_CREATE(pxNewTCB);
    return pxNewTCB;
}

void kernel_start(TaskHandle_t first)
{
    pxCurrentTCB = first;
    xSchedulerRunning = 1;
#ifndef FIRST_SWITCH_UNTOLD
    traceTASK_SWITCHED_IN();
#endif
}

void kernel_switch(TaskHandle_t next)
{
    pxCurrentTCB = next;
    traceTASK_SWITCHED_IN();
}

__attribute__((noinline)) void *pvPortMalloc(size_t xWantedSize)
{
    void *pvReturn = NULL;
    if (xWantedSize <= sizeof heap - taken) {
        pvReturn = &heap[taken];
        taken += (xWantedSize + 15u) & ~(size_t)15u;
    }
    traceMALLOC(pvReturn, xWantedSize);
    return pvReturn;
}

#ifndef traceFREE
#define traceFREE(block, bytes)
#endif

#if HT_FREERTOS_HEAP == 1
__attribute__((noinline)) void vPortFree(void *pv) { (void)pv; } /* nothing is ever given back, and nobody is told */
#elif HT_FREERTOS_HEAP == 3
/* As over a C library: told when it has happened. */
__attribute__((noinline)) void vPortFree(void *pv)
{
    if (pv != NULL) {
        __builtin_free(pv);
        traceFREE(pv, 0);
    }
}
#else
static void *given_back;

/* As heap_4 does it: NULL is left alone, and so is a block that is free already. */
__attribute__((noinline)) void vPortFree(void *pv)
{
    if (pv != NULL && pv != given_back) {
        traceFREE(pv, 0);
        given_back = pv;
    }
}
#endif
