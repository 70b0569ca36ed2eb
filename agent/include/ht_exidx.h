/* ht_exidx.h - backtraces on Cortex-M from the unwind tables of the ARM EHABI, where they are linked. For ports.
 *
 * INTO YOUR BUILD: compile everything with -funwind-tables and -DHT_EXIDX=1, and put this into the linker script, unless it
 * has it already (newlib's scripts do):
 *     .ARM.extab : { *(.ARM.extab* .gnu.linkonce.armextab.*) }
 *     .ARM.exidx : { __exidx_start = .; *(.ARM.exidx* .gnu.linkonce.armexidx.*) __exidx_end = .; }
 *
 * Against ht_unwind_scan: it names callers only, however many stale return addresses lie on the stack, and its cost follows
 * the frames, not the bytes of stack in use. But a frame takes some 250 instructions, the tables 8 bytes a function (and 8
 * and more for functions with large or odd frames), and the unwinder 1 KB of code and 128 bytes of RAM. It ends at code that
 * was built without tables: the linker marks that. Nothing of libgcc is used.
 */
#ifndef HT_EXIDX_H
#define HT_EXIDX_H

#include <stddef.h>
#include <stdint.h>

#include "ht_config.h"

#if HT_EXIDX
#if !defined(__thumb__)
#error "HT_EXIDX reads the unwind tables of Thumb code: leave it out, or set it to 0, for another CPU"
#endif

/* Up to `max` return addresses into `pcs`, innermost first, as ht_port_backtrace promises them: `frame` and `ret` are the
 * hook's, `end` is the highest address of the running stack. 0 where the agent itself was built without tables. Takes
 * some 130 bytes of stack. */
size_t ht_unwind_exidx(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret, uintptr_t end);
#endif

#endif
