/* Tracer absent: the allocator alone. */
#define HEAP_ON_MALLOC(block, requested, bytes) ((void)0)
#define HEAP_ON_FREE(block) ((void)0)
