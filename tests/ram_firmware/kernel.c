/* A program whose heap and task lists are shaped like FreeRTOS' (its documented layouts; this code is our own), and which
 * knows the truth: which of its blocks are lost. Three tasks switch to each other for as long as they are watched.
 *
 * The truth is kept inverted, so that it is no pointer. `ram_changing` names the block that is being lost right now. */
#include "board.h"
#include "ht_port_baremetal.h"

#ifdef TRACED /* with the agent, whose tables are then read from the image */
#include "ht_agent.h"
static ht_baremetal_context contexts[3];
#define TRACE_MALLOC(block, bytes, whole) ht_on_malloc(block, bytes, whole)
#define TRACE_FREE(block) ht_on_free(block)
#else
#define TRACE_MALLOC(block, bytes, whole)
#define TRACE_FREE(block)
#endif

#ifndef TRACED
volatile uint32_t ht_isr_depth; /* what the board counts in its trap handler */
#endif

#define FRAME __attribute__((noinline, noclone))
#define HEAP_BYTES (96u * 1024u)
#define STACK_BYTES 2048u
#define LOST_MAX 2048u
#ifdef __riscv
#define ALIGNMENT 16u
#else
#define ALIGNMENT 8u
#endif
#define HEADER ((sizeof(struct link) + ALIGNMENT - 1u) & ~(uintptr_t)(ALIGNMENT - 1u))
#define ALLOCATED ((size_t)1 << (sizeof(size_t) * 8 - 1))

/* -- The heap: an address-ordered free list, first fit, neighbours joined; links XOR-ed where PROTECTED ----------------- */

struct link {
    struct link *next; /* of a free block; null of an allocated one */
    size_t bytes;      /* header included, top bit while allocated */
};

static _Alignas(16) uint8_t ucHeap[HEAP_BYTES];
static struct link xStart;
static struct link *pxEnd;
static size_t xFreeBytesRemaining;
#ifdef PROTECTED
static uintptr_t xHeapCanary;
#define HIDE(pointer) ((struct link *)((uintptr_t)(pointer) ^ xHeapCanary))
#else
#define HIDE(pointer) (pointer)
#endif

/* What the kernel calls when memory has run out. */
volatile uint32_t ram_failures;
__attribute__((noinline, noclone)) void vApplicationMallocFailedHook(void) { ram_failures++; }

static void heap_init(void)
{
#ifdef PROTECTED
    xHeapCanary = (uintptr_t)0x5eedbee712345678u;
#endif
    uintptr_t end = ((uintptr_t)ucHeap + HEAP_BYTES - HEADER) & ~(uintptr_t)(ALIGNMENT - 1u);
    struct link *first = (struct link *)(void *)ucHeap;
    pxEnd = (struct link *)end;
    pxEnd->bytes = 0;
    pxEnd->next = HIDE(NULL);
    first->bytes = end - (uintptr_t)first;
    first->next = HIDE(pxEnd);
    xStart.next = HIDE(first);
    xFreeBytesRemaining = first->bytes;
}

static void insert(struct link *block)
{
    struct link *before = &xStart;
    while (HIDE(before->next) < block) {
        before = HIDE(before->next);
    }
    if (before != &xStart && (uint8_t *)before + before->bytes == (uint8_t *)block) {
        before->bytes += block->bytes;
        block = before;
    }
    struct link *after = HIDE(before->next);
    if ((uint8_t *)block + block->bytes == (uint8_t *)after && after != pxEnd) {
        block->bytes += after->bytes;
        block->next = after->next;
    } else if (block != before) {
        block->next = before->next;
    }
    if (block != before) {
        before->next = HIDE(block);
    }
}

FRAME void *pvPortMalloc(size_t bytes)
{
    size_t wanted = (bytes + HEADER + ALIGNMENT - 1u) & ~(size_t)(ALIGNMENT - 1u);
    struct link *before = &xStart;
    struct link *block = HIDE(xStart.next);
    while (block != pxEnd && block->bytes < wanted) {
        before = block;
        block = HIDE(block->next);
    }
    if (block == pxEnd) {
        vApplicationMallocFailedHook();
        return NULL;
    }
    before->next = block->next;
    if (block->bytes - wanted > 2 * HEADER) {
        struct link *rest = (struct link *)(void *)((uint8_t *)block + wanted);
        rest->bytes = block->bytes - wanted;
        block->bytes = wanted;
        rest->next = before->next;
        before->next = HIDE(rest);
    }
    xFreeBytesRemaining -= block->bytes;
    block->next = HIDE(NULL);
    block->bytes |= ALLOCATED;
    TRACE_MALLOC((uint8_t *)block + HEADER, bytes, block->bytes & ~ALLOCATED);
    return (uint8_t *)block + HEADER;
}

FRAME void vPortFree(void *given)
{
    struct link *block = (struct link *)(void *)((uint8_t *)given - HEADER);
    TRACE_FREE(given);
    block->bytes &= ~ALLOCATED;
    xFreeBytesRemaining += block->bytes;
    insert(block);
}

/* -- The kernel's lists and tasks ---------------------------------------------------------------------------------------- */

struct xLIST_ITEM {
    uint32_t xItemValue;
    struct xLIST_ITEM *pxNext, *pxPrevious;
    void *pvOwner;
    struct xLIST *pxContainer;
};

struct xLIST {
    unsigned long uxNumberOfItems;
    struct xLIST_ITEM *pxIndex;
    struct xLIST_ITEM xListEnd;
};

typedef struct tskTaskControlBlock {
    void *pxTopOfStack;
    struct xLIST_ITEM xStateListItem;
    unsigned long uxPriority;
    void *pxStack;
    char pcTaskName[16];
    unsigned long uxTCBNumber;
} tskTCB;

tskTCB *volatile pxCurrentTCB;
static struct xLIST pxReadyTasksLists[3];
static struct xLIST xDelayedTaskList1;
static unsigned long uxCurrentNumberOfTasks;

static void list_init(struct xLIST *list)
{
    list->pxIndex = &list->xListEnd;
    list->xListEnd.xItemValue = UINT32_MAX;
    list->xListEnd.pxNext = list->xListEnd.pxPrevious = &list->xListEnd;
}

FRAME static void list_insert_end(struct xLIST *list, struct xLIST_ITEM *item)
{
    struct xLIST_ITEM *end = &list->xListEnd;
    item->pxNext = end;
    item->pxPrevious = end->pxPrevious;
    end->pxPrevious->pxNext = item;
    end->pxPrevious = item;
    item->pxContainer = list;
    list->uxNumberOfItems++;
}

FRAME static void list_remove(struct xLIST_ITEM *item)
{
    item->pxNext->pxPrevious = item->pxPrevious;
    item->pxPrevious->pxNext = item->pxNext;
    item->pxContainer->uxNumberOfItems--;
    item->pxContainer = NULL;
}

static void task_create(const char *name, void (*run)(void))
{
    uint8_t *stack = pvPortMalloc(STACK_BYTES);
    tskTCB *task = pvPortMalloc(sizeof *task);
    for (unsigned i = 0; i < STACK_BYTES; i++) {
        stack[i] = 0xa5;
    }
    for (unsigned i = 0; i < sizeof *task; i++) {
        ((char *)task)[i] = 0;
    }
    for (unsigned i = 0; name[i] != 0; i++) {
        task->pcTaskName[i] = name[i];
    }
    task->pxStack = stack;
    task->uxTCBNumber = ++uxCurrentNumberOfTasks;
    task->uxPriority = 1;
    task->xStateListItem.pvOwner = task;
#ifdef TRACED
    contexts[task->uxTCBNumber - 1] = (ht_baremetal_context){
        .id = task->uxTCBNumber, .name = task->pcTaskName, .stack_end = (uintptr_t)stack + STACK_BYTES};
#endif
    task->pxTopOfStack = board_new_stack(stack + STACK_BYTES, run);
    list_insert_end(&pxReadyTasksLists[1], &task->xStateListItem);
}

/* The running task goes to the delayed list and the next ready one runs; when none is ready, all are again. */
FRAME static void task_yield(void)
{
    tskTCB *from = pxCurrentTCB;
    list_remove(&from->xStateListItem);
    list_insert_end(&xDelayedTaskList1, &from->xStateListItem);
    if (pxReadyTasksLists[1].uxNumberOfItems == 0) {
        while (xDelayedTaskList1.uxNumberOfItems > 0) {
            struct xLIST_ITEM *item = xDelayedTaskList1.xListEnd.pxNext;
            list_remove(item);
            list_insert_end(&pxReadyTasksLists[1], item);
        }
    }
    tskTCB *to = pxReadyTasksLists[1].xListEnd.pxNext->pvOwner;
    pxCurrentTCB = to;
#ifdef TRACED
    ht_context = &contexts[to->uxTCBNumber - 1];
#endif
    board_switch(&from->pxTopOfStack, to->pxTopOfStack);
}

/* -- The truth, and three tasks -------------------------------------------------------------------------------------------- */

volatile uint32_t ram_cycles;
volatile uint32_t ram_lost_count;
volatile uintptr_t ram_lost[LOST_MAX]; /* inverted addresses */
volatile uintptr_t ram_changing;       /* inverted, 0 when none is */
volatile uintptr_t ram_hidden;         /* a block that only an encoded pointer holds */
static uintptr_t encoded;

struct player {
    void *softvol, *resample;
};

struct cover {
    struct cover *next;
    char picture[40];
};

static struct player *player;
static struct cover *covers;

/* Lose a block as the case does: the next one's address is written over the only pointer to it. */
FRAME static void replace(void **place, void *fresh)
{
    ram_changing = ~(uintptr_t)*place;
    uintptr_t old = ram_changing;
    *place = fresh;
    if (~old != 0) {
        ram_lost[ram_lost_count % LOST_MAX] = old;
        ram_lost_count++;
    }
    ram_changing = 0;
}

FRAME static void *buffer(size_t bytes)
{
    uint32_t *block = pvPortMalloc(bytes);
    for (unsigned i = 0; block != NULL && i < bytes / 4; i++) {
        block[i] = 0x01010101u * (i & 0xffu);
    }
    return block;
}

FRAME void round_begins(void) { ram_cycles++; }

FRAME static void play(void)
{
#ifndef HUNGRY
    if (xFreeBytesRemaining < 8192u) {
        return;
    }
#endif
    void *fresh = buffer(0xf0);
    replace(&player->softvol, fresh);
    fresh = buffer(0xe0);
    replace(&player->resample, fresh);
}

static void audio_render(void)
{
    player = pvPortMalloc(sizeof *player);
    player->softvol = player->resample = NULL;
    encoded = (uintptr_t)buffer(24);
    ram_hidden = ~encoded;
    encoded ^= (uintptr_t)0x5555555555555555u;
    for (;;) {
        round_begins();
        play();
        task_yield();
    }
}

static void demux(void)
{
    for (;;) {
        uint32_t *packet = buffer(120); /* only this frame holds it while others run */
        task_yield();
        if (packet != NULL) {
            vPortFree(packet);
        }
    }
}

static void library(void)
{
    for (;;) {
        struct cover *cover = ram_cycles % 4 == 0 && xFreeBytesRemaining > 16384u ? buffer(sizeof *cover) : NULL;
        if (cover != NULL) {
            cover->next = covers;
            covers = cover;
        }
        task_yield();
    }
}

int main(void)
{
    heap_init();
    for (int level = 0; level < 3; level++) {
        list_init(&pxReadyTasksLists[level]);
    }
    list_init(&xDelayedTaskList1);
    task_create("AudioRender", audio_render);
    task_create("Demux", demux);
    task_create("library", library);
    pxCurrentTCB = pxReadyTasksLists[1].xListEnd.pxNext->pvOwner;
#ifdef TRACED
    ht_context = &contexts[pxCurrentTCB->uxTCBNumber - 1];
    ht_start(NULL, 0);
#endif
    void *nowhere;
    board_switch(&nowhere, pxCurrentTCB->pxTopOfStack);
    return 0;
}
