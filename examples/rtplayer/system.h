/* What runs beside the player: the other tasks of the case, and the memory that the product holds for good. */
#ifndef SYSTEM_H
#define SYSTEM_H

#include <stdbool.h>

/* At boot. False with a line on the console: the heap is too small for the tasks. */
bool system_start(void);

/* A round of playback ended: each background task renews the one buffer that it holds. */
void system_tick(void);

#endif
