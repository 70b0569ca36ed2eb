/* Unwinding by .ARM.exidx. The contract is in ht_exidx.h; the tables are those of the ABI for the Arm Architecture,
 * "Exception Handling ABI" (EHABI32), sections 6 and 10.
 *
 * The walk begins in this function itself, since only its own registers are known: a caller that keeps its stack pointer in
 * another register (alloca) can be passed only with that register's value. So the hook's frames are unwound, too, and are
 * not counted. A table can be wrong, for code in assembler: so nothing is read outside the stack, the stack pointer never
 * goes down, and an address that no call returns to ends the walk (the exit trap at the end of a task is one).
 */
#include "ht_exidx.h"

#if HT_EXIDX

#include <stdbool.h>

#include "ht_unwind.h"

#define OWN_FRAMES 6 /* between here and the hook's caller, at most */
#define FOUND_BEFORE 64u
#define SP 13
#define LR 14
#define PC 15

struct entry {
    uint32_t function; /* 31 bits, relative to its own address, as is `how` */
    uint32_t how;      /* 1: cannot be unwound; top bit set: the instructions themselves; else where they are */
};

struct state {
    uintptr_t r[16];
    uintptr_t end;
};

struct reader {
    const uint32_t *word;
    uint32_t words_left;
    int shift; /* of the next byte, below 0 when the word is used up */
};

extern const struct entry __exidx_start[], __exidx_end[];

/* Tables name these routines of libgcc, which only exceptions call; without them here, the linker would take 6 KB of libgcc
 * in. Where a program does throw, libgcc's come with what throws, and are taken instead of weak ones. */
void __aeabi_unwind_cpp_pr0(void);
void __aeabi_unwind_cpp_pr1(void);
void __aeabi_unwind_cpp_pr2(void);
__attribute__((weak)) void __aeabi_unwind_cpp_pr0(void) {}
__attribute__((weak)) void __aeabi_unwind_cpp_pr1(void) {}
__attribute__((weak)) void __aeabi_unwind_cpp_pr2(void) {}

static uintptr_t from_here(const uint32_t *word) { return (uintptr_t)word + (uintptr_t)((int32_t)(*word << 1) >> 1); }

/* Where the last search for an address of the same hash ended. It is checked before it is believed, so that no lock is needed
 * when two tasks search at once. */
static volatile uint16_t found_before[FOUND_BEFORE];

static const struct entry *entry_of(uintptr_t pc)
{
    const struct entry *low = __exidx_start;
    size_t count = (size_t)(__exidx_end - low);
    volatile uint16_t *remembered = &found_before[(pc >> 1 ^ pc >> 7) % FOUND_BEFORE];
    size_t guess = *remembered;
    if (guess + 1 < count && from_here(&low[guess].function) <= pc && from_here(&low[guess + 1].function) > pc) {
        return &low[guess];
    }
    while (count > 1) { /* `low` is the last entry that is known to be at or below pc */
        size_t half = count / 2;
        if (from_here(&low[half].function) <= pc) {
            low += half;
            count -= half;
        } else {
            count = half;
        }
    }
    if (count != 1 || from_here(&low->function) > pc) {
        return NULL;
    }
    *remembered = (uint16_t)(low - __exidx_start);
    return low;
}

static inline uint32_t next(struct reader *in)
{
    if (in->shift < 0) {
        if (in->words_left == 0) {
            return 0xb0; /* finish */
        }
        in->words_left--;
        in->word++;
        in->shift = 24;
    }
    uint32_t byte = (*in->word >> in->shift) & 0xffu;
    in->shift -= 8;
    return byte;
}

static bool open_reader(struct reader *in, const struct entry *found)
{
    const uint32_t *word = &found->how;
    if (*word == 1) {
        return false;
    }
    if ((*word & 0x80000000u) == 0) {
        word = (const uint32_t *)from_here(word);
    }
    *in = (struct reader){.word = word, .words_left = 0, .shift = 16};
    if ((*word & 0x80000000u) == 0) { /* a language's own routine, and its data: GCC's begin with the instructions */
        in->word = word + 1;
        in->words_left = word[1] >> 24;
    } else if ((*word & 0x0f000000u) != 0) { /* long form */
        in->words_left = (*word >> 16) & 0xffu;
        in->shift = 8;
    }
    return true;
}

/* `registers`, from `first` up. */
static bool pop(struct state *state, uint32_t first, uint32_t registers)
{
    for (uint32_t i = first; registers != 0; i++, registers >>= 1) {
        if ((registers & 1u) != 0) {
            if (state->r[SP] >= state->end) {
                return false;
            }
            state->r[i] = *(const uintptr_t *)state->r[SP];
            state->r[SP] += sizeof(uintptr_t);
        }
    }
    return true;
}

/* r4 and `more` above it, and perhaps lr: what most functions have pushed. */
static inline bool pop_usual(struct state *state, uint32_t more, bool and_lr)
{
    const uintptr_t *from = (const uintptr_t *)state->r[SP];
    uintptr_t end = state->r[SP] + (more + 1 + and_lr) * sizeof(uintptr_t);
    if (end > state->end || end < state->r[SP]) {
        return false;
    }
    uintptr_t *to = &state->r[4];
    for (uintptr_t *last = to + more; to <= last;) {
        *to++ = *from++;
    }
    if (and_lr) {
        state->r[LR] = *from;
    }
    state->r[SP] = end;
    return true;
}

static uint32_t leb128(struct reader *in)
{
    uint32_t value = 0;
    for (uint32_t shift = 0; shift < 32; shift += 7) {
        uint32_t byte = next(in);
        value |= (byte & 0x7fu) << shift;
        if (byte < 0x80u) {
            break;
        }
    }
    return value;
}

/* The seldom ones. False: not to be unwound. */
static bool obey_rare(struct state *state, struct reader *in, uint32_t what)
{
    if (what == 0xb1) {
        uint32_t registers = next(in);
        return registers != 0 && registers < 16 && pop(state, 0, registers);
    }
    if (what == 0xb2) {
        state->r[SP] += 0x204u + (leb128(in) << 2);
    } else if (what == 0xb3) {
        state->r[SP] += 8 * ((next(in) & 15u) + 1) + 4;
    } else if (what == 0xb4) { /* the code that signs a return address, which itself is kept plain */
        state->r[SP] += 4;
    } else if (what >= 0xb8 && what < 0xc0) {
        state->r[SP] += 8 * ((what & 7u) + 1) + 4;
    } else if (what == 0xc8 || what == 0xc9) {
        state->r[SP] += 8 * ((next(in) & 15u) + 1);
    } else if (what >= 0xd0 && what < 0xd8) {
        state->r[SP] += 8 * ((what & 7u) + 1);
    } else {
        return what == 0xb5;
    }
    return true;
}

/* From a function to its caller. False: there is none that can be known. */
static bool step(struct state *state)
{
    struct reader in;
    uintptr_t before = state->r[SP];
    const struct entry *found = entry_of((state->r[PC] & ~(uintptr_t)1) - 2); /* inside the call, not behind it */
    if (found == NULL || !open_reader(&in, found)) {
        return false;
    }
    bool has_pc = false;
    for (uint32_t what; (what = next(&in)) != 0xb0;) {
        bool good = true;
        if (what < 0x40) {
            state->r[SP] += (what << 2) + 4;
        } else if (what < 0x80) {
            state->r[SP] -= ((what & 0x3fu) << 2) + 4;
        } else if (what < 0x90) {
            uint32_t registers = (what & 15u) << 8 | next(&in); /* bit 0 is r4 */
            good = registers != 0 && (registers & 1u << (SP - 4)) == 0 && pop(state, 4, registers);
            has_pc |= (registers & 1u << (PC - 4)) != 0;
        } else if (what < 0xa0) {
            state->r[SP] = state->r[what & 15u];
        } else if (what < 0xb0) {
            good = pop_usual(state, what & 7u, (what & 8u) != 0);
        } else {
            good = obey_rare(state, &in, what);
        }
        if (!good || state->r[SP] - before > state->end - before || state->r[SP] % sizeof(uintptr_t) != 0) {
            return false; /* before the next one reads from there */
        }
    }
    if (!has_pc) {
        state->r[PC] = state->r[LR];
    }
    return true;
}

__attribute__((noinline)) size_t ht_unwind_exidx(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret, uintptr_t end)
{
    extern const char HT_TEXT_START[], HT_TEXT_END[];
    uintptr_t text = (uintptr_t)HT_TEXT_START + 4; /* the first that a call can return to */
    uintptr_t text_bytes = (uintptr_t)HT_TEXT_END - text;
    struct state state;
    uintptr_t *saved = &state.r[4];
    /* All at one place, so that they belong together. */
    __asm__ volatile("str r4, [%2, #0]\n str r5, [%2, #4]\n str r6, [%2, #8]\n str r7, [%2, #12]\n"
                     "mov %0, r8\n str %0, [%2, #16]\n mov %0, r9\n str %0, [%2, #20]\n"
                     "mov %0, r10\n str %0, [%2, #24]\n mov %0, r11\n str %0, [%2, #28]\n"
                     "mov %0, sp\n mov %1, pc\n"
                     : "=&l"(state.r[SP]), "=&l"(state.r[PC])
                     : "l"(saved)
                     : "memory");
    state.end = end;
    for (int i = 0; state.r[SP] < (uintptr_t)frame; i++) {
        if (i == OWN_FRAMES || !step(&state)) {
            return 0;
        }
    }
    if (max == 0 || state.r[SP] != (uintptr_t)frame || state.r[PC] != ret) {
        return 0;
    }
    size_t count = 0;
    do {
        pcs[count++] = state.r[PC];
    } while (count < max && step(&state) && state.r[PC] - text <= text_bytes && (state.r[PC] & 1u) != 0
             && ht_follows_call(state.r[PC]));
    return count;
}

#else
typedef int ht_exidx_is_off; /* a translation unit must not be empty */
#endif
