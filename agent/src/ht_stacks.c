/* Call stacks, each kept once; the sites at which allocations are counted; tasks, by number, with a copy of the name.
 *
 * Stacks are an array that only grows, found by a hash of their return addresses in `index`, which is never more than
 * half full. A stack gets a site when something is allocated there; stacks that only free have none.
 */
#include "ht_store.h"

/* Where a stack's number stands in the index, or would. Multiplying by an odd number loses nothing, and the high bits,
 * which choose the slot, know all lower ones. */
static uint32_t slot_of(const uintptr_t *pcs, size_t depth)
{
    uintptr_t hash = (uintptr_t)depth;
    for (size_t i = 0; i < depth; i++) {
        hash = (hash ^ pcs[i]) * (uintptr_t)0x9e3779b97f4a7c15u;
    }
    return (uint32_t)(((uint64_t)(uint32_t)(hash >> (8 * sizeof hash - 32)) * HT_INDEX_SLOTS) >> 32);
}

uint32_t ht_intern(const uintptr_t *pcs, size_t depth)
{
    if (depth == 0 || depth > HT_DEPTH) { /* more than there was room for: the port's capture went wrong */
        return 0;
    }
    uint32_t slot = slot_of(pcs, depth);
    while (ht.index[slot] != 0) {
        if (ht_same_stack(&ht.stacks[ht.index[slot]], pcs, depth)) {
            return ht.index[slot];
        }
        slot = slot + 1 == HT_INDEX_SLOTS ? 0 : slot + 1;
    }
    if (ht.stack_count == HT_STACKS || depth > HT_FRAMES - ht.frame_count) {
        return 0;
    }
    uint32_t number = ++ht.stack_count;
    ht.stacks[number] = (struct ht_stack){.first_frame = ht.frame_count, .depth = (uint8_t)depth};
    memcpy(&ht.frames[ht.frame_count], pcs, depth * sizeof pcs[0]);
    ht.frame_count += (uint32_t)depth;
    ht.index[slot] = (uint16_t)number;
    return number;
}

uint32_t ht_site_of_stack(uint32_t number)
{
    struct ht_stack *stack = &ht.stacks[number];
    if (number == 0 || (stack->site == 0 && ht.site_count == HT_SITES)) {
        ht_count(&ht.stacks_dropped);
        return HT_SITE_OTHER;
    }
    if (stack->site == 0) {
        stack->site = (uint16_t)ht.site_count++;
        ht.sites[stack->site].stack = (uint16_t)number;
    }
    return stack->site;
}

void ht_copy_name(char to[HT_NAME_BYTES], const char *from)
{
    size_t i = 0;
    for (; from != NULL && i < HT_NAME_BYTES - 1 && from[i] != 0; i++) {
        to[i] = from[i];
    }
    memset(to + i, 0, HT_NAME_BYTES - i);
}

static bool name_wanted(const char *name)
{
    for (uint32_t i = 0; i < ht.filter_count; i++) {
        if (strncmp(ht.filters[i], name, HT_NAME_BYTES - 1) == 0) { /* both are cut to that */
            return true;
        }
    }
    return ht.filter_count == 0;
}

uint32_t ht_find_thread(uint32_t id)
{
    uint32_t i = 0;
    while (i < ht.thread_count && ht.thread_ids[i] != id) {
        i++;
    }
    struct ht_thread *thread = &ht.threads[i]; /* HT_THREADS, the last: "(other)" */
    if (i == ht.thread_count) {
        const char *given = ht_port_thread_name();
        const char *name = id == HT_ID_ISR ? "ISR" : id == HT_ID_STARTUP ? "(start-up)" : given != NULL ? given : "(null)";
        thread->wanted = name_wanted(name);
        if (i < HT_THREADS) {
            ht.thread_ids[i] = id;
            ht_copy_name(thread->name, name);
            ht.thread_count++;
        }
    }
    if (i < HT_THREADS) {
        ht.thread_hints[id & (HT_THREAD_HINTS - 1)] = (uint8_t)i;
    }
    return i;
}

void ht_report_misuse(ht_misuse kind, uintptr_t address, uint32_t stack)
{
    uint32_t thread = ht_current_thread();
    uint16_t before = 0;
    ht_count(kind == HT_DOUBLE_FREE ? &ht.double_frees : &ht.null_frees);
    for (uint32_t i = 0; i < ht.misuse_count; i++) {
        if (ht.misuses[i].kind == kind && ht.misuses[i].stack == stack) {
            ht_count(&ht.misuses[i].count);
            return;
        }
    }
#if HT_CHECK_DOUBLE_FREE
    uintptr_t hash = ht_hash_address(address);
    before = kind == HT_DOUBLE_FREE && ht_was_freed(address, hash) ? ht_freed_slot(hash)->stack : 0;
#endif
    if (ht.misuse_count < HT_REPORTS) {
        ht.misuses[ht.misuse_count++] = (struct ht_misuse_row){.kind = kind,
                                                               .count = 1,
                                                               .address = address,
                                                               .stack = (uint16_t)stack,
                                                               .before = before,
                                                               .thread = (uint8_t)thread};
    }
}
