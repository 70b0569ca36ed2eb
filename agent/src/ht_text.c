/* Lines without printf: see ht_text.h. */
#include "ht_text.h"

#include <string.h>

void ht_text(struct ht_out *out, const char *string)
{
    /* Room for the line end and the closing zero is kept back: a long task name is cut, not the line end. */
    while (*string != 0 && out->used < HT_LINE_BYTES - sizeof HT_EOL - 1) {
        out->line[out->used++] = *string++;
    }
}

static void hex(struct ht_out *out, uintptr_t value, const char *digits, size_t width)
{
    char buffer[17];
    for (size_t i = width; i-- > 0; value >>= 4) {
        buffer[i] = digits[value & 15u];
    }
    buffer[width] = 0;
    ht_text(out, buffer);
}

static size_t width_of(uintptr_t value)
{
#if UINTPTR_MAX > 0xffffffffu
    return value > UINT32_MAX ? 16 : 8;
#else
    return (void)value, 8;
#endif
}

void ht_upper_hex(struct ht_out *out, uintptr_t value) { hex(out, value, "0123456789ABCDEF", width_of(value)); }

void ht_address(struct ht_out *out, uintptr_t value)
{
    ht_text(out, "0x");
    hex(out, value, "0123456789abcdef", width_of(value));
}

void ht_short_hex(struct ht_out *out, uint32_t value)
{
    size_t width = 1;
    while (width < 8 && value >> (4 * width) != 0) {
        width++;
    }
    hex(out, value, "0123456789abcdef", width);
}

void ht_decimal(struct ht_out *out, uint32_t value, size_t width)
{
    char buffer[11];
    size_t at = sizeof buffer - 1;
    buffer[at] = 0;
    do {
        buffer[--at] = (char)('0' + value % 10u);
        value /= 10u;
    } while (value != 0);
    while (at > 0 && sizeof buffer - 1 - at < width) {
        buffer[--at] = '0';
    }
    ht_text(out, buffer + at);
}

void ht_field(struct ht_out *out, const char *name, uint32_t value)
{
    ht_text(out, name);
    ht_decimal(out, value, 0);
}

void ht_fields(struct ht_out *out, const char *names, const uint32_t *values)
{
    for (; *names != 0; names += strlen(names) + 1) {
        ht_field(out, names, *values++);
    }
}

void ht_begin_sum(struct ht_out *out)
{
    out->sum = 2166136261u;
    out->lines = 0;
}

static void add_to_sum(struct ht_out *out, char letter) { out->sum = (out->sum ^ (uint8_t)letter) * 16777619u; }

static bool blank(char letter) { return letter == ' ' || letter == '\t'; }

void ht_end_line(struct ht_out *out)
{
    size_t from = 0;
    size_t to = out->used;
    while (from < to && blank(out->line[from])) {
        from++;
    }
    while (to > from && blank(out->line[to - 1])) {
        to--;
    }
    for (; from < to; from++) {
        add_to_sum(out, out->line[from]);
    }
    add_to_sum(out, '\n');
    out->lines++;
    memcpy(out->line + out->used, HT_EOL, sizeof HT_EOL);
    out->used = 0;
    out->put(out->context, out->line);
}
