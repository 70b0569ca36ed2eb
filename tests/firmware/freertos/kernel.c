/* The kernel's places where the port's macros are expanded. */
#include "task.h"

struct tskTaskControlBlock {
    StackType_t *pxEndOfStack;
    UBaseType_t uxTaskNumber;
};

TaskHandle_t volatile pxCurrentTCB;
void *find_room(size_t bytes);
void give_back(void *block);
void create(TaskHandle_t pxNewTCB);
void switch_context(TaskHandle_t next);
void *pvPortMalloc(size_t xWantedSize);
void vPortFree(void *pv);

void create(TaskHandle_t pxNewTCB) { traceTASK_CREATE(pxNewTCB); }

void switch_context(TaskHandle_t next)
{
    pxCurrentTCB = next;
    traceTASK_SWITCHED_IN();
}

void *pvPortMalloc(size_t xWantedSize)
{
    void *pvReturn = find_room(xWantedSize);
    traceMALLOC(pvReturn, xWantedSize);
    return pvReturn;
}

void vPortFree(void *pv)
{
    traceFREE(pv, 0);
    give_back(pv);
}
