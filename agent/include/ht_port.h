/* ht_port.h - the six things that the agent asks of a platform. One file under port/ answers them.
 *
 * The core includes no RTOS header. To make a port, copy port/template/ and follow its numbered steps.
 * The first five are called from inside malloc and free, so none of them may allocate, block on anything but the lock
 * below, or print. Each may be called by any task, from interrupts, and before the scheduler runs.
 */
#ifndef HT_PORT_H
#define HT_PORT_H

#include <stddef.h>
#include <stdint.h>

#include "ht_config.h"

/* Identities that are no task's. */
#define HT_ID_STARTUP 0u          /* before the scheduler runs; printed as "(start-up)" */
#define HT_ID_ISR     0xffffffffu /* inside an interrupt; printed as "ISR" */

/* Enter and leave the agent's critical section. `lock` returns what `unlock` needs to put things back. It never nests.
 * It is held for a bounded time: a few hash probes on malloc and free, one pass over the records for each printed
 * block or site, one clearing of the tables when `memleak 1` or `memleak 0` is typed. */
#if HT_CPU_LOCK
#include "ht_cpu.h"
static inline uintptr_t ht_port_lock(void) { return ht_cpu_mask(); }
static inline void ht_port_unlock(uintptr_t saved) { ht_cpu_unmask(saved); }
#else
uintptr_t ht_port_lock(void);
void ht_port_unlock(uintptr_t saved);
#endif

/* A number for the running task that no other task gets later, or one of the two above. A task control block's
 * address is a poor choice: the next task created there would inherit the dead one's name. Called inside the lock. */
uint32_t ht_port_thread_id(void);

/* The running task's name, or NULL. The agent copies it at once and keeps no pointer. Called inside the lock, once
 * for each task (and again only while the table of HT_THREADS names is full). */
const char *ht_port_thread_name(void);

/* Fill `pcs` with up to `max` RETURN addresses, innermost first, and return how many; 0 means that there is no stack.
 * (They are stepped back to the calls when they are printed, which is seldom; see ht_callsite.h.)
 *
 * `frame` and `ret` are the hook's own frame address (in Thumb code its CFA: the lowest address of its caller's frame, so
 * that `pcs` and what the hook saved lie below it) and return address: pcs[0] is `ret`, which lies in the allocator
 * (pvPortMalloc), pcs[1] is where the allocator returns to, and so on. Never read outside the running task's stack.
 * An address that no call returns to (a task's exit trap) is left out. Called outside the lock, on the task's own
 * stack; it must not be a leaf function on RISC-V, where a leaf saves no return address. */
size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret);

/* The ELF's build id: its length and, through `bytes`, where it stands; 0 where there is none. Called by the console.
 * A linker script that sets the symbol ht_build_id_note at the .note.gnu.build-id section gets it by the agent's own
 * (weak) answer. */
size_t ht_port_build_id(const uint8_t **bytes);

#endif
