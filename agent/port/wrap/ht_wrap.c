/* ht_wrap.c - hooks by the linker, for allocators that cannot be edited.
 *
 * Link with @ht_wrap.opts, which lists the --wrap options for all functions below: calls of `malloc` from any object
 * file come here, and __real_malloc is the allocator. A call inside the allocator's own object file is not redirected:
 * so calloc and strdup do not call the allocator's, which would call its malloc unseen (of one kernel's heap, all 40
 * leaking blocks were lost that way), but are done here with malloc.
 * C++: operator new and delete of libstdc++ call malloc and free, so they are followed. If yours have a heap of their
 * own, see ht_wrap_cxx.c.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ht_agent.h"

void *__real_malloc(size_t bytes);
void __real_free(void *block);
void *__real_realloc(void *block, size_t bytes);
void *__real_memalign(size_t alignment, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);

#define WRAP __attribute__((noinline, used))

WRAP void *__wrap_malloc(size_t bytes)
{
    void *block = __real_malloc(bytes);
    ht_on_malloc(block, bytes, 0);
    return block;
}

WRAP void *__wrap_calloc(size_t count, size_t bytes)
{
    void *block = NULL;
    size_t total;
    if (!__builtin_mul_overflow(count, bytes, &total)) {
        block = __real_malloc(total);
    } else {
        total = SIZE_MAX;
    }
    ht_on_malloc(block, total, 0);
    return block != NULL ? memset(block, 0, total) : NULL;
}

WRAP char *__wrap_strdup(const char *text)
{
    size_t bytes = strlen(text) + 1;
    char *copy = __real_malloc(bytes);
    ht_on_malloc(copy, bytes, 0);
    return copy != NULL ? memcpy(copy, text, bytes) : NULL;
}

WRAP void *__wrap_memalign(size_t alignment, size_t bytes)
{
    void *block = __real_memalign(alignment, bytes);
    ht_on_malloc(block, bytes, 0);
    return block;
}

WRAP void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    void *block = __real_aligned_alloc(alignment, bytes);
    ht_on_malloc(block, bytes, 0);
    return block;
}

/* Between the allocator's work and the hook another task may get the old address; its birth then shows as a block that
 * went away without a free, never as a wrong owner. An allocator whose realloc calls malloc and free from another object
 * file is followed there already: set HT_WRAP_REALLOC_IS_MALLOC=1, or each would be counted twice. */
WRAP void *__wrap_realloc(void *block, size_t bytes)
{
    void *moved = __real_realloc(block, bytes);
#ifndef HT_WRAP_REALLOC_IS_MALLOC
    if (bytes == 0 && moved == NULL) {
        if (block != NULL) {
            ht_on_free_by(block, __builtin_return_address(0));
        }
        return NULL;
    }
    ht_on_realloc(block, moved, bytes, 0);
#endif
    return moved;
}

WRAP void __wrap_free(void *block)
{
    ht_on_free_by(block, __builtin_return_address(0));
    __real_free(block);
}
