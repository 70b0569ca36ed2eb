/* ht_unwind.h - two ways to a backtrace without unwind tables, for ports to choose from. See ht_port.h for `frame`, `ret`.
 *
 *   ht_unwind_frames   follows frame pointers. RISC-V, AArch64, x86-64; everything built with -fno-omit-frame-pointer.
 *                      Not for Cortex-M with GCC: r7 points at the bottom of the frame, at distances that vary.
 *                      About 10 instructions a frame. Stops at code that was built without frame pointers.
 *   ht_unwind_scan     looks at each word of the stack and takes those that follow a call instruction. Thumb. Needs no
 *                      build option and goes through anybody's object files, but costs about 5 instructions a word, and
 *                      a stale return address in an unused local looks like a caller: the host checks the chain.
 *
 * Neither reads outside [frame, end), with `end` the highest address of the running stack. Both are told where code
 * lies, from the linker script. Never use libgcc's DWARF unwinder in a hook: on RV64 it took 150,000 instructions and
 * 4 KB of stack.
 */
#ifndef HT_UNWIND_H
#define HT_UNWIND_H

#include <stddef.h>
#include <stdint.h>

/* The first byte of code, and the one behind the last. Name other symbols here if your linker script has them already. */
#ifndef HT_TEXT_START
#define HT_TEXT_START ht_text_start
#endif
#ifndef HT_TEXT_END
#define HT_TEXT_END ht_text_end
#endif

#if !defined(__thumb__)

static inline size_t ht_unwind_frames(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret, uintptr_t end)
{
    extern const char HT_TEXT_START[], HT_TEXT_END[];
    uintptr_t text = (uintptr_t)HT_TEXT_START;
    uintptr_t text_bytes = (uintptr_t)HT_TEXT_END - text;
    uintptr_t here = (uintptr_t)frame;
    uintptr_t above;
    uintptr_t *out = pcs;
    if (here >= end || max == 0 || ret - text > text_bytes) {
        return 0;
    }
    /* Stacks grow down: each frame lies above the last one, which bounds the walk even where a word is something else.
     * RISC-V: {caller's frame pointer, return address} lie just below a frame; elsewhere at the frame pointer. */
#if defined(__riscv)
#define HT_SAVED(frame) ((const uintptr_t *)(frame) - 2)
#define HT_LAST_FRAME end
#else
#define HT_SAVED(frame) ((const uintptr_t *)(frame))
#define HT_LAST_FRAME (end - 2 * sizeof(uintptr_t))
#endif
#define HT_STEP(here, above)                                                                                    \
    *out++ = ret;                                                                                               \
    above = HT_SAVED(here)[0];                                                                                  \
    if (above <= here || above > HT_LAST_FRAME || above % sizeof above != 0) {                                  \
        return (size_t)(out - pcs);                                                                             \
    }                                                                                                           \
    ret = HT_SAVED(above)[1];                                                                                   \
    if (ret - text > text_bytes) {                                                                              \
        return (size_t)(out - pcs);                                                                             \
    }
    const uintptr_t *full = pcs + max;
#ifndef __OPTIMIZE_SIZE__
    /* Two at a time: the loop's own cost is a quarter of it all. With an odd limit the last one is taken below. */
    while (out != pcs + (max & ~(size_t)1)) {
        HT_STEP(here, above)
        HT_STEP(above, here)
    }
#endif
    for (; out != full; here = above) {
        HT_STEP(here, above)
    }
#undef HT_STEP
#undef HT_LAST_FRAME
#undef HT_SAVED
    return max;
}

#else

/* Whether the instruction before `ret` is BL or BLX (register). Thumb-2, ARMv6-M to ARMv8-M. */
static inline int ht_follows_call(uintptr_t ret)
{
    const uint16_t *code = (const uint16_t *)(ret & ~(uintptr_t)1);
    return ((code[-2] & 0xf800u) == 0xf000u && (code[-1] & 0xd000u) == 0xd000u) || (code[-1] & 0xff87u) == 0x4780u;
}

static inline size_t ht_unwind_scan(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret, uintptr_t end)
{
    extern const char HT_TEXT_START[], HT_TEXT_END[];
    uintptr_t text = (uintptr_t)HT_TEXT_START + 4; /* the first that a call can return to */
    uintptr_t text_bytes = (uintptr_t)HT_TEXT_END - text;
    const uintptr_t *word = (const uintptr_t *)frame;
    const uintptr_t *last = (const uintptr_t *)end;
    if (max == 0 || word >= last) {
        return 0;
    }
    uintptr_t *out = pcs;
    const uintptr_t *full = pcs + max;
    *out++ = ret;
#define HT_TRY(value)                                                                        \
    if ((value) - text <= text_bytes && ((value) & 1u) != 0 && ht_follows_call(value)) {      \
        if (out == full) {                                                                    \
            return max;                                                                       \
        }                                                                                     \
        *out++ = (value);                                                                     \
    }
    for (; word + 4 <= last; word += 4) { /* most words are no code addresses: 4 instructions for each of them */
        HT_TRY(word[0])
        HT_TRY(word[1])
        HT_TRY(word[2])
        HT_TRY(word[3])
    }
    for (; word < last; word++) {
        HT_TRY(word[0])
    }
#undef HT_TRY
    return (size_t)(out - pcs);
}

#endif
#endif
