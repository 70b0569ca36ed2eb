/* ht_callsite.h - from a return address to the call instruction before it.
 *
 * A backtrace finds return addresses: the instruction AFTER the call. Its source line is often the next statement's, its
 * inlined functions those of code that never called (on RV64, 46 % of 435 sites gave another line, 7 % another chain).
 * So the agent stores and prints call addresses, as the vendor's tracer does, and no reader must step back again.
 *
 *   RISC-V   a call is 4 bytes, or 2 when compressed. The two low bits of the 16 bits at ret-4 are 11 for a 4-byte
 *            instruction; it is taken for the call only if it is a jal or jalr that links (rd is x1 or x5).
 *   Thumb    bit 0 is the mode, not the address. BL is 4 bytes (11110... then 11x1...), BLX register is 2.
 *   AArch64  a call is always 4 bytes.
 *   x86      calls have many lengths and cannot be read backwards. ret-1 is the last byte of the call instruction: not
 *            its start, but inside it, which is all that line tables ask.
 *
 * A return address that equals a function's entry is no return address at all (the task-exit trap at the end of a
 * Cortex-M stack); a port must leave it out, or give it unchanged.
 */
#ifndef HT_CALLSITE_H
#define HT_CALLSITE_H

#include <stdint.h>

static inline uintptr_t ht_call_address(uintptr_t ret)
{
#if defined(__riscv)
    const uint16_t *code = (const uint16_t *)ret;
    uint32_t wide = (uint32_t)code[-2] | ((uint32_t)code[-1] << 16);
    uint32_t opcode = wide & 0x7fu;
    uint32_t link = (wide >> 7) & 0x1fu;
    int is_call = (opcode == 0x6fu || opcode == 0x67u) && (link == 1u || link == 5u);
    return ret - (is_call ? 4u : 2u);
#elif defined(__thumb__)
    uintptr_t even = ret & ~(uintptr_t)1;
    const uint16_t *code = (const uint16_t *)even;
    int is_bl = (code[-2] & 0xf800u) == 0xf000u && (code[-1] & 0xc000u) == 0xc000u;
    return even - (is_bl ? 4u : 2u);
#elif defined(__aarch64__) || defined(__arm__)
    return ret - 4u;
#else
    return ret - 1u;
#endif
}

#endif
