/* The serial console, on standard input and output. */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Takes a typed line cut into words; argv[argc] is NULL. */
typedef void (*console_command)(int argc, const char *argv[]);

/* One whole line with its end, printed under one lock. It begins on a line of its own: where the prompt or half a typed
 * command stands, a line end comes first. Any task. */
__attribute__((format(printf, 1, 2))) void console_line(const char *format, ...);

/* Text that holds its own line ends. */
void console_text(const char *text);

/* Bytes as they are, in one piece, on no line of their own: where a line of text stands open, it goes on behind them. */
void console_bytes(const uint8_t *bytes, size_t count);

void console_open(void);  /* a terminal gets raw input, and the program echoes by itself */
void console_close(void); /* puts the terminal back */

/* Prompt and read until the input ends or console_interrupt is called. */
void console_run(console_command command);

/* Async-signal-safe and thread-safe: console_run returns soon, console_sleep at once. */
void console_interrupt(void);

/* False if interrupted. */
bool console_sleep(int milliseconds);

#endif
