/* What both boards share: text, and the C library functions that compilers and the agent call. */
#include "board.h"

#include <string.h>

void (*board_on_interrupt)(void);

void board_print(const char *text)
{
    while (*text != 0) {
        board_put(*text++);
    }
}

void board_print_number(uint32_t value)
{
    if (value >= 10) {
        board_print_number(value / 10);
    }
    board_put((char)('0' + value % 10));
}

void board_print_hex(uintptr_t value)
{
    if (value >= 16) {
        board_print_hex(value >> 4);
    }
    board_put("0123456789abcdef"[value & 15u]);
}

void *memcpy(void *restrict to, const void *restrict from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((char *)to)[i] = ((const char *)from)[i];
    }
    return to;
}

void *memset(void *to, int value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        ((char *)to)[i] = (char)value;
    }
    return to;
}

int memcmp(const void *a, const void *b, size_t bytes)
{
    const unsigned char *left = a;
    const unsigned char *right = b;
    for (; bytes > 0 && *left == *right; bytes--, left++, right++) {
    }
    return bytes == 0 ? 0 : *left - *right;
}

int strncmp(const char *a, const char *b, size_t bytes)
{
    for (; bytes > 0 && *a == *b && *a != 0; bytes--, a++, b++) {
    }
    return bytes == 0 ? 0 : (unsigned char)*a - (unsigned char)*b;
}

int strcmp(const char *a, const char *b) { return strncmp(a, b, SIZE_MAX); }

size_t strlen(const char *text)
{
    size_t length = 0;
    while (text[length] != 0) {
        length++;
    }
    return length;
}
