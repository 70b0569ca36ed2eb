/* The media library: beside the case's bug, three more ways in which memory goes, each off unless asked for. */
#ifndef LIBRARY_H
#define LIBRARY_H

#include <stdbool.h>

typedef struct {
    unsigned drip_rounds;  /* every so many rounds a block of 24 bytes is lost; 0: never */
    unsigned cache_rounds; /* a cache of covers grows for so many rounds, then is full; 0: no cache */
    bool error_path;       /* tags are read each round, and `fault` makes that go wrong */
} library_options;

void library_configure(const library_options *options);

/* The next `rounds` rounds find damaged tags, and each loses a block. False: the error path was not asked for. */
bool library_fault(unsigned rounds);

/* RTplayerThread, at the end of each round. */
void library_round_ended(unsigned round);

#endif
