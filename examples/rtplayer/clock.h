/* The monotonic clock in timespecs. */
#ifndef CLOCK_H
#define CLOCK_H

#include <time.h>

static inline struct timespec clock_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
}

static inline struct timespec clock_add(struct timespec at, double seconds)
{
    long whole = (long)seconds;
    at.tv_sec += whole;
    at.tv_nsec += (long)((seconds - (double)whole) * 1e9);
    if (at.tv_nsec >= 1000000000L) {
        at.tv_nsec -= 1000000000L;
        at.tv_sec += 1;
    }
    return at;
}

#endif
