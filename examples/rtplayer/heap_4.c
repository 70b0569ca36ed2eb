/* First fit over an address-ordered list of free blocks, merged with their neighbours when freed.
 *
 * What is FreeRTOS heap_4's, so that a reader of RAM images finds here what it finds on a target: the names of the
 * symbols, the header before each block (next free block, size with the header in it, top bit of the size set while
 * allocated), the list's ends (xStart by value, pxEnd inside the array), a remainder split off only if it is larger than
 * two headers. The code is written anew from that description. Two things differ: the lock is a mutex instead of a
 * suspended scheduler, and the tracer's free hook runs before the block is given back (see ht_agent.h for why).
 */
#include "heap_4.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "ht_agent.h"

enum { ALIGNMENT = 16 };

typedef struct A_BLOCK_LINK {
    struct A_BLOCK_LINK *pxNextFreeBlock;
    size_t xBlockSize;
} BlockLink_t;

static const size_t ALLOCATED_BIT = (size_t)1 << (sizeof(size_t) * 8 - 1);
static const size_t HEADER = (sizeof(BlockLink_t) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);

static uint8_t ucHeap[HEAP_TOTAL_BYTES] __attribute__((aligned(ALIGNMENT)));
static BlockLink_t xStart;
static BlockLink_t *pxEnd;
static size_t xFreeBytesRemaining;
static size_t xMinimumEverFreeBytesRemaining;
static size_t xNumberOfSuccessfulAllocations;
static size_t xNumberOfSuccessfulFrees;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void heap_init(void)
{
    uintptr_t end = ((uintptr_t)ucHeap + sizeof ucHeap - HEADER) & ~(uintptr_t)(ALIGNMENT - 1);
    BlockLink_t *first = (BlockLink_t *)(void *)ucHeap;
    pxEnd = (BlockLink_t *)end;
    pxEnd->pxNextFreeBlock = NULL;
    pxEnd->xBlockSize = 0;
    first->pxNextFreeBlock = pxEnd;
    first->xBlockSize = end - (uintptr_t)first;
    xStart.pxNextFreeBlock = first;
    xFreeBytesRemaining = xMinimumEverFreeBytesRemaining = first->xBlockSize;
}

/* Put a free block in its place by address, and join it with the neighbours that touch it. */
static void give_back(BlockLink_t *block)
{
    BlockLink_t *before = &xStart;
    while (before->pxNextFreeBlock < block) {
        before = before->pxNextFreeBlock;
    }
    BlockLink_t *after = before->pxNextFreeBlock;
    block->pxNextFreeBlock = after;
    if (after != pxEnd && (uint8_t *)block + block->xBlockSize == (uint8_t *)after) {
        block->xBlockSize += after->xBlockSize;
        block->pxNextFreeBlock = after->pxNextFreeBlock;
    }
    if (before != &xStart && (uint8_t *)before + before->xBlockSize == (uint8_t *)block) {
        before->xBlockSize += block->xBlockSize;
        before->pxNextFreeBlock = block->pxNextFreeBlock;
    } else {
        before->pxNextFreeBlock = block;
    }
}

/* The first free block of this size or more, taken off the list and cut to size; NULL if there is none. */
static BlockLink_t *take(size_t size)
{
    BlockLink_t *before = &xStart;
    BlockLink_t *block = xStart.pxNextFreeBlock;
    while (block != pxEnd && block->xBlockSize < size) {
        before = block;
        block = block->pxNextFreeBlock;
    }
    if (block == pxEnd) {
        return NULL;
    }
    before->pxNextFreeBlock = block->pxNextFreeBlock;
    if (block->xBlockSize - size > 2 * HEADER) {
        BlockLink_t *rest = (BlockLink_t *)(void *)((uint8_t *)block + size);
        rest->xBlockSize = block->xBlockSize - size;
        block->xBlockSize = size;
        rest->pxNextFreeBlock = before->pxNextFreeBlock;
        before->pxNextFreeBlock = rest;
    }
    return block;
}

__attribute__((noinline)) void *pvPortMalloc(size_t bytes)
{
    void *result = NULL;
    size_t block_bytes = 0;
    (void)pthread_mutex_lock(&lock);
    if (pxEnd == NULL) {
        heap_init();
    }
    if (bytes > 0 && bytes < HEAP_TOTAL_BYTES) {
        BlockLink_t *block = take((bytes + HEADER + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1));
        if (block != NULL) {
            block_bytes = block->xBlockSize;
            xFreeBytesRemaining -= block_bytes;
            if (xFreeBytesRemaining < xMinimumEverFreeBytesRemaining) {
                xMinimumEverFreeBytesRemaining = xFreeBytesRemaining;
            }
            block->xBlockSize |= ALLOCATED_BIT;
            block->pxNextFreeBlock = NULL;
            xNumberOfSuccessfulAllocations++;
            result = (uint8_t *)block + HEADER;
        }
    }
    ht_on_malloc(result, bytes, block_bytes);
    (void)pthread_mutex_unlock(&lock);
    return result;
}

__attribute__((noinline)) void *pvPortCalloc(size_t count, size_t bytes)
{
    void *block = NULL;
    if (bytes == 0 || count <= SIZE_MAX / bytes) {
        block = pvPortMalloc(count * bytes);
    }
    if (block != NULL) {
        memset(block, 0, count * bytes);
    }
    return block;
}

__attribute__((noinline)) void vPortFree(void *given)
{
    if (given == NULL) {
        ht_on_free(NULL);
        return;
    }
    BlockLink_t *block = (BlockLink_t *)(void *)((uint8_t *)given - HEADER);
    (void)pthread_mutex_lock(&lock);
    ht_on_free(given);
    if ((block->xBlockSize & ALLOCATED_BIT) != 0 && block->pxNextFreeBlock == NULL) {
        block->xBlockSize &= ~ALLOCATED_BIT;
        xFreeBytesRemaining += block->xBlockSize;
        xNumberOfSuccessfulFrees++;
        give_back(block);
    }
    (void)pthread_mutex_unlock(&lock);
}

static size_t read_under_lock(const size_t *value)
{
    (void)pthread_mutex_lock(&lock);
    size_t copy = *value;
    (void)pthread_mutex_unlock(&lock);
    return copy;
}

size_t xPortGetFreeHeapSize(void) { return read_under_lock(&xFreeBytesRemaining); }

size_t xPortGetMinimumEverFreeHeapSize(void) { return read_under_lock(&xMinimumEverFreeBytesRemaining); }
