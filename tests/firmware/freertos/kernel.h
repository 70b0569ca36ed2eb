/* The stand-in kernel's own calls: who was created, who runs. It switches names and numbers, the program the stacks. */
#ifndef KERNEL_H
#define KERNEL_H
#include "task.h"

TaskHandle_t kernel_create(const char *name, StackType_t *end, StackType_t *top);
void kernel_start(TaskHandle_t first);
void kernel_switch(TaskHandle_t next);
void *pvPortMalloc(size_t xWantedSize);
void vPortFree(void *pv);
#endif
