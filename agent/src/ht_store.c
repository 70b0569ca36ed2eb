/* The records: one array, an open hash by block address, kept in the order of their home slots (Robin Hood probing, after
 * Celis). So a search ends as soon as it meets a record that is nearer to its home than the wanted one would be: about 9
 * probes for a hit and for a miss when the pool is full and 17 slots hold 16 records, where plain linear probing needs 145
 * for a miss. A removal shifts its followers back; there are no tombstones and a long run never slows down. At least one
 * slot is empty at all times, so every loop ends. Worst case: one pass over the pool, when all addresses have one home.
 */
#include "ht_store.h"

static uint32_t distance(uint32_t from, uint32_t to) { return to >= from ? to - from : to + HT_SLOTS - from; }

static uint32_t away(uint32_t slot)
{
    return distance(ht_home_of_hash(ht_hash_address(ht.records[slot].address)), slot);
}

uint32_t ht_seek(uintptr_t address, uint32_t hash, bool *found)
{
    uint32_t slot = ht_home_of_hash(hash);
    *found = true;
    for (uint32_t steps = 0;; steps++) {
        uintptr_t here = ht.records[slot].address;
        if (here == address) {
            return slot;
        }
        if (here == 0 || away(slot) < steps) {
            break;
        }
        slot = ht_next_slot(slot);
    }
    *found = false;
    return slot;
}

bool ht_insert(uint32_t slot, const struct ht_record *record)
{
    if (ht.live == HT_RECORDS) {
        return false;
    }
    struct ht_record moving = *record;
    while (ht.records[slot].address != 0) {
        struct ht_record next = ht.records[slot];
        ht.records[slot] = moving;
        moving = next;
        slot = ht_next_slot(slot);
    }
    ht.records[slot] = moving;
    ++ht.live;
    return true;
}

void ht_remove(uint32_t slot)
{
    uint32_t next = ht_next_slot(slot);
    while (ht.records[next].address != 0 && away(next) != 0) {
        ht.records[slot] = ht.records[next];
        slot = next;
        next = ht_next_slot(next);
    }
    ht.records[slot].address = 0;
    --ht.live;
}
