/* The event stream's last step: a frame's checksum, and the key that leaves no zero in it. */
#include "ht_wire.h"

/* CRC-16 with polynomial 0x1021, from 0xffff, high bit first ("CCITT-FALSE"); two table steps a byte. */
static uint16_t checksum(const uint8_t *bytes, size_t count)
{
    static const uint16_t STEP[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7,
                                      0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    uint16_t crc = 0xffff;
    for (size_t i = 0; i < count; i++) {
        crc = (uint16_t)(crc << 4) ^ STEP[(crc >> 12) ^ (bytes[i] >> 4)];
        crc = (uint16_t)(crc << 4) ^ STEP[(crc >> 12) ^ (bytes[i] & 15u)];
    }
    return crc;
}

size_t ht_wire_seal(uint8_t frame[HT_WIRE_FRAME_BYTES], size_t picked)
{
    uint8_t *payload = frame + 1;
    uint16_t crc = checksum(payload, picked);
    payload[picked] = (uint8_t)(crc >> 8);
    payload[picked + 1] = (uint8_t)crc;
    size_t bytes = picked + 2;

    /* The key is a value that does not occur, so that no byte becomes zero when it is XORed with it. 254 bytes cannot
     * use up 255 values. */
    uint8_t used[32] = {0};
    for (size_t i = 0; i < bytes; i++) {
        used[payload[i] >> 3] |= (uint8_t)(1u << (payload[i] & 7u));
    }
    unsigned key = 1;
    while ((used[key >> 3] & (1u << (key & 7u))) != 0) {
        key++;
    }
    frame[0] = (uint8_t)key;
    for (size_t i = 0; i < bytes; i++) {
        payload[i] = (uint8_t)(payload[i] ^ key);
    }
    payload[bytes] = 0;
    return bytes + 2;
}
