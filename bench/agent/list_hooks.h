/* For comparison: a linked list of records with 16 addresses each, kept in the heap that is traced. */
void list_on_malloc(void *block, size_t requested);
void list_on_free(void *block);
#define HEAP_ON_MALLOC(block, requested, bytes) list_on_malloc((block), (requested))
#define HEAP_ON_FREE(block) list_on_free(block)
