/* The player's heap: FreeRTOS heap_4's interface and block layout, this project's own code. */
#ifndef HEAP_4_H
#define HEAP_4_H

#include <stddef.h>

enum { HEAP_TOTAL_BYTES = 1907128 }; /* the case's */

/* NULL when no free block is large enough. Blocks are aligned to 16 bytes. Any thread may call these. */
void *pvPortMalloc(size_t bytes);
void *pvPortCalloc(size_t count, size_t bytes);
void vPortFree(void *block);

size_t xPortGetFreeHeapSize(void);
size_t xPortGetMinimumEverFreeHeapSize(void);

#endif
