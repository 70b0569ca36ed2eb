/* ht_wrap_cxx.c - C++ operator new and delete, where they do not end in a malloc that is wrapped already.
 *
 * Link with @ht_wrap_cxx.opts. The forms for arrays, for sized delete and without exceptions are the C++ library's, which
 * call the two that are wrapped here, so that each object is seen once. Only where your heap defines the array and the sized
 * forms itself, define HT_NEW_DEFINES_ALL_FORMS=1 and link with @ht_wrap_cxx_all.opts: else a block would be counted in both,
 * and a delete look like a double free. size_t is `m` in a mangled name on 64-bit targets, `j` on most 32-bit ones.
 */
#ifndef HT_NEW_HAS_ITS_OWN_HEAP
#error "operator new usually calls malloc, which ht_wrap.c follows: each object would be counted twice. If yours has a heap of its own, define HT_NEW_HAS_ITS_OWN_HEAP=1; else leave this file out"
#endif

#ifndef HT_NEW_DEFINES_ALL_FORMS
#define HT_NEW_DEFINES_ALL_FORMS 0
#endif

#include <stddef.h>

#include "ht_agent.h"

#define WRAP __attribute__((noinline, used))

#if __SIZE_WIDTH__ == 64
#define NEW(kind) kind##m
#define DELETE_SIZED(kind) kind##m
#else
#define NEW(kind) kind##j
#define DELETE_SIZED(kind) kind##j
#endif

#define WRAP_NEW(real, wrapped)         \
    void *real(size_t bytes);           \
    WRAP void *wrapped(size_t bytes)    \
    {                                   \
        void *block = real(bytes);      \
        ht_on_malloc(block, bytes, 0);  \
        return block;                   \
    }
#define WRAP_DELETE(real, wrapped)                              \
    void real(void *block);                                     \
    WRAP void wrapped(void *block)                              \
    {                                                           \
        if (block != NULL) { /* allowed by the language */      \
            ht_on_free_by(block, __builtin_return_address(0));  \
        }                                                       \
        real(block);                                            \
    }
#define WRAP_DELETE_SIZED(real, wrapped)                        \
    void real(void *block, size_t bytes);                       \
    WRAP void wrapped(void *block, size_t bytes)                \
    {                                                           \
        if (block != NULL) {                                    \
            ht_on_free_by(block, __builtin_return_address(0));  \
        }                                                       \
        real(block, bytes);                                     \
    }

WRAP_NEW(NEW(__real__Znw), NEW(__wrap__Znw)) /* operator new */
WRAP_DELETE(__real__ZdlPv, __wrap__ZdlPv)
#if HT_NEW_DEFINES_ALL_FORMS
WRAP_NEW(NEW(__real__Zna), NEW(__wrap__Zna)) /* operator new[] */
WRAP_DELETE(__real__ZdaPv, __wrap__ZdaPv)
WRAP_DELETE_SIZED(DELETE_SIZED(__real__ZdlPv), DELETE_SIZED(__wrap__ZdlPv))
WRAP_DELETE_SIZED(DELETE_SIZED(__real__ZdaPv), DELETE_SIZED(__wrap__ZdaPv))
#endif
