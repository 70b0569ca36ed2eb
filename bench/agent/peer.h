/* The hooks of what the agent is compared with: list.c or node.c. Both keep their records in the heap that they trace. */
#ifndef PEER_H
#define PEER_H

#include <stddef.h>

void peer_on_malloc(void *block, size_t requested, const void *caller);
void peer_on_free(void *block);
size_t peer_record_bytes(void); /* of one block, without the heap's own header */

#define HEAP_ON_MALLOC(block, requested, bytes) peer_on_malloc((block), (requested), __builtin_return_address(0))
#define HEAP_ON_FREE(block) peer_on_free(block)
#endif
