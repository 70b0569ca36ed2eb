/* Allocations before the scheduler, in two tasks and in an interrupt, through the port's macros; then who did what. */
#include "board.h"
#include "ht_agent.h"
#include "kernel.h"

#define FRAME __attribute__((noinline, noclone))
#define STACK_WORDS 512

volatile uint32_t ht_isr_depth; /* the board counts it */
static StackType_t stacks[2][STACK_WORDS] __attribute__((aligned(16)));
static TaskHandle_t tasks[2];
static void *contexts[3];

/* The kernel's port for RISC-V has a stack for interrupts. The board's trap handler stays on the task's, so the program
 * says that the interrupts' stack is here while one is handled. */
#if defined(__riscv)
StackType_t xISRStackTop;
#endif

/* Tasks are on the process stack of a Cortex-M, and interrupts on the main stack, below what main has there. */
static inline __attribute__((always_inline)) void use_process_stack(int yes)
{
#if defined(__thumb__)
    if (yes) {
        __asm__ volatile("mov r2, sp\n msr psp, r2\n msr msp, %0\n movs r2, #2\n msr control, r2\n isb\n"
                         : : "r"(contexts[2]) : "r2", "memory");
    } else {
        __asm__ volatile("movs r2, #0\n msr control, r2\n isb\n" : : : "r2", "memory");
    }
#else
    (void)yes;
#endif
}

FRAME static void before_start(void) { (void)pvPortMalloc(100); }
FRAME static void work(size_t bytes)
{
    (void)pvPortMalloc(bytes);
    __asm__ volatile("");
}
FRAME static void frees_twice(void)
{
    void *block = pvPortMalloc(400);
    vPortFree(block);
    vPortFree(block);
    vPortFree(NULL);
    __asm__ volatile("");
}

/* What is hard for a scan of the stack: return addresses of long ago between two frames, a call by pointer, a tail call.
 * The tasks stand apart, as they would in a product: in a program of 2 KB everything is near everything. */
__asm__(".section .text.apart,\"ax\",%progbits\n .space 2048\n .text\n");
#define APART __attribute__((noinline, noclone, section(".text.apart")))
static volatile uintptr_t leftover;
APART static void leave_behind(void)
{
    leftover = (uintptr_t)__builtin_return_address(0);
}
FRAME static void littered(void)
{
    volatile uintptr_t litter[8];
    for (int i = 0; i < 8; i++) {
        litter[i] = leftover;
    }
    work(610);
    leftover = litter[7];
}
FRAME static void by_pointer(void)
{
    static void (*volatile pointer)(size_t) = work;
    volatile uintptr_t litter = leftover;
    pointer(620);
    leftover = litter;
}
FRAME static void jumps(void) { work(630); }
FRAME static void before_a_jump(void)
{
    volatile uintptr_t litter = leftover;
    jumps();
    leftover = litter;
}

static void interrupted(void)
{
#if defined(__riscv)
    xISRStackTop = (StackType_t)__builtin_frame_address(0) + 64u;
#endif
    (void)pvPortMalloc(500);
#if defined(__riscv)
    xISRStackTop = 0;
#endif
}

static volatile int left, entered; /* not on the stack, which changes in between */

__attribute__((noreturn)) static void leave(int from, int to)
{
    left = from;
    entered = to;
    use_process_stack(0);
    board_switch(&contexts[left], contexts[entered]);
    for (;;) {
    }
}

APART static void first_task(void)
{
    use_process_stack(1);
    work(200);
    kernel_switch(tasks[1]);
    leave(0, 1);
}

APART static void second_task(void)
{
    use_process_stack(1);
    work(300);
    frees_twice();
    leave_behind();
    littered();
    by_pointer();
    before_a_jump();
    board_interrupt();
    leave(1, 2);
}

static void print(void *context, const char *line)
{
    (void)context;
    board_print(line);
}

int main(void)
{
    static void (*const bodies[2])(void) = {first_task, second_task};
    board_on_interrupt = interrupted;
    (void)ht_start(NULL, 0);
    for (int i = 1; i >= 0; i--) { /* of those created, the last one is current at the start */
        StackType_t *end = &stacks[i][STACK_WORDS];
        contexts[i] = board_new_stack(end, bodies[i]);
        tasks[i] = kernel_create(i == 0 ? "first" : "second", end, end - 16);
    }
    before_start();
    kernel_start(tasks[0]);
    board_switch(&contexts[2], contexts[0]);
    ht_console(2, (const char *const[]){"memleak", "0"}, print, NULL);
    return 0;
}
