/* For comparison: a node taken from the traced heap for each block, found by 64 hash chains, with the caller and no stack. */
#include <stddef.h>
#include <stdint.h>

#include "heap.h"
#include "ht_port.h"
#include "peer.h"

#define CHAINS 64u

struct node {
    struct node *next;
    void *block;
    size_t bytes;
    const char *thread;
    uintptr_t caller;
};

static struct node *chains[CHAINS];
static int inside;

static struct node **chain_of(const void *block)
{
    return &chains[((uint32_t)((uintptr_t)block >> 3) * 2654435769u) >> 26];
}

__attribute__((noinline)) void peer_on_malloc(void *block, size_t requested, const void *caller)
{
    if (inside) {
        return;
    }
    inside = 1;
    struct node *node = board_malloc(sizeof *node);
    inside = 0;
    if (node == NULL) {
        return;
    }
    node->block = block;
    node->bytes = requested;
    node->caller = (uintptr_t)caller;
    uintptr_t saved = ht_port_lock();
    node->thread = ht_port_thread_name();
    struct node **chain = chain_of(block);
    node->next = *chain;
    *chain = node;
    ht_port_unlock(saved);
}

__attribute__((noinline)) void peer_on_free(void *block)
{
    if (inside) {
        return;
    }
    struct node *found = NULL;
    uintptr_t saved = ht_port_lock();
    for (struct node **link = chain_of(block); *link != NULL; link = &(*link)->next) {
        if ((*link)->block == block) {
            found = *link;
            *link = found->next;
            break;
        }
    }
    ht_port_unlock(saved);
    if (found != NULL) {
        inside = 1;
        board_free(found);
        inside = 0;
    }
}

size_t peer_record_bytes(void) { return sizeof(struct node); }
