/* Call stacks, each kept once; the sites at which allocations are counted; tasks, by number, with a copy of the name.
 *
 * Stacks are an array that only grows, found by a hash of their return addresses in `index`, which is never more than
 * half full. A stack gets a site when something is allocated there; stacks that only free have none.
 */
#include "ht_store.h"

static uint32_t hash_of(const uintptr_t *pcs, size_t depth)
{
    /* Multiplying by an odd number loses nothing, and the high bits, which choose the slot, know all lower ones. */
    uintptr_t hash = (uintptr_t)depth;
    for (const uintptr_t *end = pcs + depth; pcs != end; pcs++) {
        hash = (hash ^ *pcs) * (uintptr_t)0x9e3779b97f4a7c15u;
    }
    return (uint32_t)(hash >> (8 * sizeof hash - 32));
}

static bool same(const uintptr_t *a, const uintptr_t *b, size_t depth)
{
    for (const uintptr_t *end = a + depth; a != end; a++, b++) { /* a C library's memcmp goes by bytes */
        if (*a != *b) {
            return false;
        }
    }
    return true;
}

uint32_t ht_intern(const uintptr_t *pcs, size_t depth)
{
    if (depth == 0) {
        return 0;
    }
    uint32_t hash = hash_of(pcs, depth);
    uint32_t slot = (uint32_t)(((uint64_t)hash * HT_INDEX_SLOTS) >> 32);
    while (ht.index[slot] != 0) {
        const struct ht_stack *stack = &ht.stacks[ht.index[slot]];
        if (stack->hash == hash && stack->depth == depth && same(pcs, &ht.frames[stack->first_frame], depth)) {
            return ht.index[slot];
        }
        slot = slot + 1 == HT_INDEX_SLOTS ? 0 : slot + 1;
    }
    if (ht.stack_count == HT_STACKS || depth > HT_FRAMES - ht.frame_count) {
        return 0;
    }
    uint32_t number = ++ht.stack_count;
    ht.stacks[number] = (struct ht_stack){.hash = hash, .first_frame = ht.frame_count, .depth = (uint8_t)depth};
    memcpy(&ht.frames[ht.frame_count], pcs, depth * sizeof pcs[0]);
    ht.frame_count += (uint32_t)depth;
    ht.index[slot] = (uint16_t)number;
    return number;
}

uint32_t ht_site_of(const uintptr_t *pcs, size_t depth)
{
    if (depth == 0) {
        return HT_SITE_NO_STACK;
    }
    uint32_t number = ht_intern(pcs, depth);
    struct ht_stack *stack = &ht.stacks[number];
    if (stack->site == 0) { /* also number 0, which is no stack's */
        if (number == 0 || ht.site_count == HT_SITES) {
            ht_count(&ht.stacks_dropped);
            return HT_SITE_OTHER;
        }
        stack->site = (uint16_t)ht.site_count++;
        ht.sites[stack->site].stack = (uint16_t)number;
    }
    return stack->site;
}

void ht_copy_name(char to[HT_NAME_BYTES], const char *from)
{
    size_t i = 0;
    for (; from != NULL && from[i] != 0 && i < HT_NAME_BYTES - 1; i++) {
        to[i] = from[i];
    }
    memset(to + i, 0, HT_NAME_BYTES - i);
}

static bool name_wanted(const char *name)
{
    for (uint32_t i = 0; i < ht.filter_count; i++) {
        if (strncmp(ht.filters[i], name, HT_NAME_BYTES) == 0) {
            return true;
        }
    }
    return ht.filter_count == 0;
}

static uint8_t find_thread(uint32_t id, bool *wanted)
{
    for (uint32_t i = 0; i < ht.thread_count; i++) {
        if (ht.threads[i].id == id) {
            *wanted = ht.threads[i].wanted;
            return (uint8_t)i;
        }
    }
    char name[HT_NAME_BYTES];
    const char *given = ht_port_thread_name();
    ht_copy_name(name, id == HT_ID_ISR ? "ISR" : id == HT_ID_STARTUP ? "(start-up)" : given != NULL ? given : "(null)");
    *wanted = name_wanted(name);
    if (ht.thread_count == HT_THREADS) {
        return HT_THREADS;
    }
    struct ht_thread *thread = &ht.threads[ht.thread_count];
    thread->id = id;
    thread->wanted = *wanted;
    memcpy(thread->name, name, sizeof name);
    return (uint8_t)ht.thread_count++;
}

uint8_t ht_current_thread(bool *wanted)
{
    uint32_t id = ht_port_thread_id();
    uint8_t *hint = &ht.thread_hints[id & (HT_THREAD_HINTS - 1)];
    if (*hint < ht.thread_count && ht.threads[*hint].id == id) {
        *wanted = ht.threads[*hint].wanted;
        return *hint;
    }
    return *hint = find_thread(id, wanted);
}
