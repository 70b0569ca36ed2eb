/* ht_unwind.h - two ways to a backtrace without unwind tables, for ports to choose from. See ht_port.h for `frame`, `ret`.
 *
 *   ht_unwind_frames   follows frame pointers. RISC-V, AArch64, x86-64; everything built with -fno-omit-frame-pointer.
 *                      Not for Cortex-M with GCC: r7 points at the bottom of the frame, at distances that vary.
 *                      About 10 instructions a frame. Stops at code that was built without frame pointers.
 *   ht_unwind_scan     looks at each word of the stack and takes those that follow a call instruction. Thumb. Needs no
 *                      build option and goes through anybody's object files, but costs about 5 instructions a word. A
 *                      stale return address looks like a caller; where a BL shows the true one it is left out, and the
 *                      host checks the rest of the chain.
 *
 * Neither reads outside [frame, end), with `end` the highest address of the running stack. Both are told where code
 * lies, from the linker script. Never use libgcc's DWARF unwinder in a hook: on RV64 it took 150,000 instructions and
 * 4 KB of stack.
 */
#ifndef HT_UNWIND_H
#define HT_UNWIND_H

#include <stdbool.h>
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

/* Few functions are longer before their last call. One that is costs nothing: its caller is then known by its own caller. */
#define HT_FUNCTION_BYTES 1024u
#define HT_WRAPPER_HALVES 24u

/* Whether the instruction before `ret` is BL or BLX (register). Thumb-2, ARMv6-M to ARMv8-M. */
static inline int ht_follows_call(uintptr_t ret)
{
    const uint16_t *code = (const uint16_t *)(ret & ~(uintptr_t)1);
    return ((code[-2] & 0xf800u) == 0xf000u && (code[-1] & 0xd000u) == 0xd000u) || (code[-1] & 0xff87u) == 0x4780u;
}

/* BL and B.W whose target is within 4 MB, as nearly all are: both J bits are set, and the address needs no puzzle. */
#define HT_IS_BL(high, low) ((high) >> 11 == 0x1eu && (low) >> 11 == 0x1fu)
#define HT_IS_JUMP(high, low) ((high) >> 11 == 0x1eu && (low) >> 11 == 0x17u)
static inline uintptr_t ht_branch_target(uintptr_t end, uint32_t high, uint32_t low)
{
    return end + (uintptr_t)((int32_t)(high << 21) >> 9) + ((low & 0x7ffu) << 1);
}

/* Whether a short function ends in a jump to the one that `pc` is in, and so leaves no frame: malloc as a wrapper, say. */
static inline bool ht_jumps_to(uintptr_t function, uintptr_t pc)
{
    extern const char HT_TEXT_START[], HT_TEXT_END[];
    uintptr_t text_bytes = (uintptr_t)HT_TEXT_END - (uintptr_t)HT_TEXT_START - (2 * HT_WRAPPER_HALVES + 4);
    if (function - (uintptr_t)HT_TEXT_START > text_bytes) {
        return false;
    }
    for (uintptr_t at = function; at - function < 2 * HT_WRAPPER_HALVES; at += 2) {
        uint32_t high = ((const uint16_t *)at)[0];
        if (high >= 0xe800u) { /* an instruction of two halves */
            uint32_t low = ((const uint16_t *)(at += 2))[0];
            if (HT_IS_JUMP(high, low) && pc - ht_branch_target(at + 2, high, low) < HT_FUNCTION_BYTES) {
                return true;
            }
        } else if (high >= 0xe000u && pc - (at + 4 + (uintptr_t)((int32_t)(high << 21) >> 20)) < HT_FUNCTION_BYTES) {
            return true;
        } else if ((high & 0xff00u) == 0xbd00u) { /* it returns */
            break;
        }
    }
    return false;
}

/* What a scan has found: `count` return addresses in `pcs`, of which those behind `sure` are doubtful still. */
struct ht_scan {
    uintptr_t *pcs;
    size_t max, count, sure;
};

/* Where `ret` goes, which a BL to `function` precedes: behind the address that it called, if one of them is in there. */
static inline void ht_scan_settle(struct ht_scan *scan, uintptr_t ret, uintptr_t function)
{
    uintptr_t *pcs = scan->pcs;
    size_t callee = scan->sure;
    for (size_t i = callee + 1; i < scan->count; i++) {
        callee = pcs[i] != ret && pcs[i] - function < pcs[callee] - function ? i : callee;
    }
    bool found = pcs[callee] - function < HT_FUNCTION_BYTES;
    if (found && callee != scan->sure) {
        pcs[++scan->sure] = pcs[callee];
    }
    if (found || ht_jumps_to(function, pcs[scan->sure])) {
        scan->count = ++scan->sure;
    }
}

/* Take a word that lies in the code and is odd. A BL into the function of an address found before shows who called whom:
 * what stood between the two were leftovers (and counters, where code begins at 0 and a small number looks like an
 * address), which would make a new stack of each of them. A call by register, or one whose callee went on by a jump, stays
 * doubtful until its own caller is found, or for good at the outer end. False: there is no more room. */
__attribute__((noinline, unused)) static bool ht_scan_take(struct ht_scan *scan, uintptr_t ret)
{
    uint32_t high = ((const uint16_t *)(ret - 5u))[0];
    uint32_t low = ((const uint16_t *)(ret - 5u))[1];
    size_t count = scan->count;
    if (HT_IS_BL(high, low)) {
        uintptr_t function = ht_branch_target(ret - 1u, high, low);
        if (scan->sure + 1 == count && scan->pcs[scan->sure] - function < HT_FUNCTION_BYTES) {
            scan->sure = count;
        } else {
            ht_scan_settle(scan, ret, function);
            count = scan->count;
        }
    } else if (low >> 7 != 0x8fu && (high >> 11 != 0x1eu || (low & 0xd000u) != 0xd000u)) {
        /* Nor is it a BLX by register, or a BL to far away. */
        return true;
    }
    if (count == scan->max) {
        return false;
    }
    scan->pcs[count] = ret;
    scan->count = count + 1;
    return true;
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
    struct ht_scan scan = {.pcs = pcs, .max = max, .count = 1};
    pcs[0] = ret;
#define HT_TRY(value)                                                                              \
    if ((value) - text <= text_bytes && ((value) & 1u) != 0 && !ht_scan_take(&scan, (value))) {     \
        return max;                                                                                 \
    }
#ifndef __OPTIMIZE_SIZE__
    for (; word + 4 <= last; word += 4) { /* most words are no code addresses: 4 instructions for each of them */
        HT_TRY(word[0])
        HT_TRY(word[1])
        HT_TRY(word[2])
        HT_TRY(word[3])
    }
#endif
    for (; word < last; word++) {
        HT_TRY(word[0])
    }
#undef HT_TRY
    return scan.count;
}

#endif
#endif
