/* Every allocation and free of the run, as the agent's event stream: `--trace FILE`, or `memleak stream` on the console. */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* Record from now on into a file. False: it cannot be written, or there is no thread for it. */
bool trace_open(const char *path);
/* Write what is left and close the file; nothing without trace_open. */
void trace_close(void);

/* Let `memleak stream` find the console, and something that carries the frames there. */
void trace_to_console(void);

#endif
