/* A test is a function without arguments; a failed CHECK names its place and ends the program with 1. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                  \
    do {                                                                                  \
        if (!(condition)) {                                                               \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            exit(1);                                                                      \
        }                                                                                 \
    } while (0)

#define CHECK_TEXT(got, wanted)                                                                            \
    do {                                                                                                   \
        if (strcmp((got), (wanted)) != 0) {                                                                \
            (void)fprintf(stderr, "%s:%d: got:\n%s\nwanted:\n%s\n", __FILE__, __LINE__, (got), (wanted)); \
            exit(1);                                                                                       \
        }                                                                                                  \
    } while (0)

struct named_test {
    const char *name;
    void (*run)(void);
};

/* `--list` names the tests, one a line; a name runs that one between `before` and `after`. */
static inline int run_named(int argc, char *argv[], const struct named_test *tests, size_t count, void (*before)(void),
                            void (*after)(void))
{
    int ran = 0;
    for (size_t i = 0; i < count && argc == 2; i++) {
        if (strcmp(argv[1], "--list") == 0) {
            (void)puts(tests[i].name);
            ran = 1;
        } else if (strcmp(argv[1], tests[i].name) == 0) {
            before();
            tests[i].run();
            after();
            ran = 1;
        }
    }
    return ran ? 0 : 2;
}

#endif
