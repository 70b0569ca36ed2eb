/* ht_port_posix.h - the agent on a POSIX host: threads, a mutex, backtraces by frame pointers.
 *
 * Build everything that may call the allocator with -fno-omit-frame-pointer. A caller that was built without it (most
 * C libraries) ends the chain early, or leads astray inside the stack's bounds: then frames are missing, but nothing
 * outside the thread's own stack is ever read.
 *
 * Link the program with -no-pie. Loaded anywhere else in each run, its addresses cannot be told from the ELF.
 */
#ifndef HT_PORT_POSIX_H
#define HT_PORT_POSIX_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* First thing in a thread's own entry function, and in main: the backtraces of this thread end at `frame`, the entry
 * function's frame. What called it is the C library's, which keeps no frame pointers. A thread that never says so gets
 * "no stack". */
void ht_posix_attach(const void *frame);
#define HT_POSIX_ATTACH() ht_posix_attach(__builtin_frame_address(0))

#ifdef __cplusplus
}
#endif
#endif
