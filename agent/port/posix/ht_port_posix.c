/* The POSIX port: see ht_port.h for what is promised and ht_port_posix.h for what the program must do. */
#define _GNU_SOURCE
#include "ht_port_posix.h"

#include <pthread.h>
#include <stdatomic.h>
#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>

#include "ht_config.h"
#include "ht_port.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_uint threads_seen;

static _Thread_local uint32_t thread_id;
static _Thread_local uintptr_t outermost_frame;
static _Thread_local char thread_name[64];

uintptr_t ht_port_lock(void)
{
    (void)pthread_mutex_lock(&lock);
    return 0;
}

void ht_port_unlock(uintptr_t saved)
{
    (void)saved;
    (void)pthread_mutex_unlock(&lock);
}

uint32_t ht_port_thread_id(void)
{
    if (thread_id == 0) {
        thread_id = atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) + 1;
    }
    return thread_id;
}

const char *ht_port_thread_name(void)
{
    return pthread_getname_np(pthread_self(), thread_name, sizeof thread_name) == 0 ? thread_name : NULL;
}

void ht_posix_attach(const void *frame) { outermost_frame = (uintptr_t)frame; }

/* x86-64, AArch64: the frame pointer points at {caller's frame pointer, return address}. RISC-V: just above them. */
#if defined(__riscv)
#define SAVED_PAIR(frame) ((const uintptr_t *)(frame) - 2)
#else
#define SAVED_PAIR(frame) ((const uintptr_t *)(frame))
#endif

__attribute__((no_sanitize("address"))) /* reads frames, which ASan guards as redzones */
size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    uintptr_t here = (uintptr_t)frame;
    size_t depth = 0;
    if (here >= outermost_frame) {
        return 0;
    }
    /* Stacks grow down: each frame lies above the last one and not above the thread's outermost. That bounds the walk
     * even where a saved frame pointer is something else. */
    while (depth < max) {
        pcs[depth++] = ret;
        uintptr_t above = SAVED_PAIR(here)[0];
        if (above <= here || above >= outermost_frame || above % sizeof(uintptr_t) != 0) {
            break;
        }
        here = above;
        ret = SAVED_PAIR(here)[1];
    }
    return depth;
}

extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden"))); /* the linker's: the loaded file's head */

__attribute__((no_sanitize("address", "undefined"))) /* the linker gives the file's head no size */
size_t ht_port_build_id(const uint8_t **bytes)
{
    const uint8_t *file = (const uint8_t *)&__ehdr_start;
    const ElfW(Phdr) *headers = (const ElfW(Phdr) *)(const void *)(file + __ehdr_start.e_phoff);
    for (size_t i = 0; i < __ehdr_start.e_phnum; i++) {
        const uint8_t *at = file + headers[i].p_offset;
        const uint8_t *end = at + headers[i].p_filesz;
        while (headers[i].p_type == PT_NOTE && at < end) {
            ElfW(Nhdr) note;
            memcpy(&note, at, sizeof note);
            const uint8_t *id = at + sizeof note + ((note.n_namesz + 3u) & ~3u);
            if (note.n_type == NT_GNU_BUILD_ID && memcmp(at + sizeof note, "GNU", 4) == 0) {
                *bytes = id;
                return note.n_descsz;
            }
            at = id + ((note.n_descsz + 3u) & ~3u);
        }
    }
    return 0;
}
