/* Inside the console: lines put together without printf, and a checksum over what was printed. */
#ifndef HT_TEXT_H
#define HT_TEXT_H

#include "ht_agent.h"

#define HT_LINE_BYTES 192

struct ht_out {
    ht_put put;
    void *context;
    uint32_t sum, lines;
    size_t used;
    char line[HT_LINE_BYTES];
};

void ht_text(struct ht_out *out, const char *string);
/* 8 digits, 16 where the value needs them. */
void ht_upper_hex(struct ht_out *out, uintptr_t value);
/* The same in lower case, with 0x. */
void ht_address(struct ht_out *out, uintptr_t value);
/* As few digits as there are. */
void ht_short_hex(struct ht_out *out, uint32_t value);
/* With zeros in front up to `width` digits. */
void ht_decimal(struct ht_out *out, uint32_t value, size_t width);
/* A name or word, then the number. */
void ht_field(struct ht_out *out, const char *name, uint32_t value);
/* Names and words, each with its closing zero and one zero more behind the last, and a number after each. */
void ht_fields(struct ht_out *out, const char *names, const uint32_t *values);
/* Give the line out. `sum` goes over it: FNV-1a, 32 bits, of the text without blanks at its ends, and a line feed. */
void ht_end_line(struct ht_out *out);
void ht_begin_sum(struct ht_out *out);

/* -- Between the console's files -- */

/* " agent=VERSION build=HEX", or " build=none". */
void ht_print_identity(struct ht_out *out);

/* ht_dumps.c. The last one stops the recording behind its first line. */
enum ht_dump { HT_DUMP_LAST, HT_DUMP_SHOW, HT_DUMP_COMPACT, HT_DUMP_SITES };
void ht_print_dump(struct ht_out *out, enum ht_dump which);

/* ht_stream_console.c: `memleak stream`, or with `begin` false `memleak stream 0`. */
void ht_console_stream(struct ht_out *out, bool begin);
/* End the stream if it is on the console. False: it is not. */
bool ht_console_stream_end(void);

#endif
