/* A small allocator with the agent's hooks where they belong: blocks of one free list, first fit, never joined. */
#include "heap.h"

#include <string.h>

#include "ht_agent.h"

#define HEADER 16u
#define HEAP_BYTES 65536u

struct block {
    size_t bytes; /* header included */
    struct block *next;
};

static _Alignas(16) char heap[HEAP_BYTES];
static size_t used;
static struct block *free_list;

static struct block *take(size_t bytes)
{
    for (struct block **link = &free_list; *link != NULL; link = &(*link)->next) {
        if ((*link)->bytes >= bytes) {
            struct block *found = *link;
            *link = found->next;
            return found;
        }
    }
    if (bytes > HEAP_BYTES - used) {
        return NULL;
    }
    struct block *fresh = (struct block *)(void *)(heap + used);
    used += bytes;
    fresh->bytes = bytes;
    return fresh;
}

__attribute__((noinline)) void *board_malloc(size_t bytes)
{
    struct block *block = bytes < HEAP_BYTES ? take((bytes + HEADER + 15u) & ~(size_t)15) : NULL;
    void *result = block != NULL ? (char *)block + HEADER : NULL;
    HEAP_ON_MALLOC(result, bytes, block != NULL ? block->bytes : 0); /* CALL board_malloc */
    return result;
}

__attribute__((noinline)) void *board_calloc(size_t bytes)
{
    void *block = board_malloc(bytes); /* CALL board_calloc */
    if (block != NULL) {
        memset(block, 0, bytes);
    }
    return block;
}

__attribute__((noinline)) void board_free(void *given)
{
    struct block *block = (struct block *)(void *)((char *)given - HEADER);
    HEAP_ON_FREE(given); /* CALL board_free */
    block->next = free_list;
    free_list = block;
}
