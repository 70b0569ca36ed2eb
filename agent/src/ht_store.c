/* The records: one array, an open hash by block address, kept in the order of their home slots (Robin Hood probing, after
 * Celis). So a search ends as soon as it meets a record that is nearer to its home than the wanted one would be: about 9
 * probes for a hit and for a miss when the pool is full and 17 slots hold 16 records, where plain linear probing needs 145
 * for a miss. A removal shifts its followers back; there are no tombstones and a long run never slows down. At least one
 * slot is empty at all times, so every loop ends. Worst case: one pass over the pool, when all addresses have one home.
 */
#include "ht_store.h"

static struct ht_record *next_of(struct ht_record *slot)
{
    return slot == &ht.records[HT_SLOTS - 1] ? &ht.records[0] : slot + 1;
}

/* Slots between a record's home and where it stands. */
static uint32_t away(const struct ht_record *slot)
{
    uint32_t home = (uint32_t)ht_home_of_hash(ht_hash_address(slot->address));
    uint32_t at = (uint32_t)(slot - ht.records);
    return at >= home ? at - home : at + HT_SLOTS - home;
}

struct ht_record *ht_seek_on(struct ht_record *slot, uintptr_t address)
{
    for (uint32_t steps = 0; slot->address != 0 && slot->address != address && away(slot) >= steps; steps++) {
        slot = next_of(slot);
    }
    return slot;
}

void ht_make_room(struct ht_record *slot)
{
    struct ht_record moving = *slot;
    do {
        slot = next_of(slot);
        struct ht_record next = *slot;
        *slot = moving;
        moving = next;
    } while (moving.address != 0);
}

void ht_remove_on(struct ht_record *slot, struct ht_record *next)
{
    while (next->address != 0 && away(next) != 0) {
        *slot = *next;
        slot = next;
        next = next_of(next);
    }
    slot->address = 0;
}
