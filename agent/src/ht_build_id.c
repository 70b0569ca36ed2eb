/* The build id by a symbol of the linker script:
 *     ht_build_id_note = .;  KEEP(*(.note.gnu.build-id))
 * and the linker's --build-id. A port that knows it in another way defines ht_port_build_id itself. */
#include "ht_port.h"

struct note {
    uint32_t name_bytes, bytes, type;
    char name[4];
    uint8_t id[];
};

extern const struct note ht_build_id_note __attribute__((weak));

__attribute__((weak)) size_t ht_port_build_id(const uint8_t **bytes)
{
    const struct note *note = &ht_build_id_note;
    __asm__("" : "+r"(note)); /* the address of a weak symbol may be 0, whatever the compiler believes */
    if (note == NULL || note->name_bytes != 4 || note->type != 3) {
        return 0;
    }
    *bytes = note->id;
    return note->bytes;
}
