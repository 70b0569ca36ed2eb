/* The allocator under test. A bench puts other hooks in the agent's place, or none. */
#ifndef HEAP_H
#define HEAP_H

#include <stddef.h>

void *board_malloc(size_t bytes);
void *board_calloc(size_t bytes);
void board_free(void *block);

#ifdef HEAP_HOOKS_FILE
#include HEAP_HOOKS_FILE
#else
#define HEAP_ON_MALLOC(block, requested, bytes) ht_on_malloc((block), (requested), (bytes))
#define HEAP_ON_FREE(block) ht_on_free(block)
#endif
#endif
