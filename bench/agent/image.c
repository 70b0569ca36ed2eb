/* A firmware that uses as much of a tracer as a build asks for, to be weighed: IMAGE_CORE the hooks and their switch,
 * IMAGE_CONSOLE the console as well, and with HT_STREAM the stream on it. Without either, or with a peer, the same without. */
#include "board.h"
#include "heap.h"

#if defined(IMAGE_CORE) || defined(IMAGE_CONSOLE)
#include "ht_agent.h"
#include "ht_stream.h"
#endif

static void *volatile block;

#ifdef IMAGE_CONSOLE
static volatile int words;
static const char *argv[4];

static void put(void *unused, const char *line)
{
    (void)unused;
    board_print(line);
}

#if HT_STREAM
static void write_raw(void *unused, const uint8_t *bytes, size_t count)
{
    (void)unused;
    for (; count != 0; count--) {
        board_put((char)*bytes++);
    }
}
#endif
#endif

int main(void)
{
    block = board_malloc(24);
    board_free(block);
    board_print("");
#ifdef IMAGE_CORE
    (void)ht_start(NULL, 0);
    ht_stop();
#endif
#ifdef IMAGE_CONSOLE
    (void)ht_console(words, argv, put, NULL);
#if HT_STREAM
    ht_stream_output(write_raw, NULL);
    (void)ht_stream_pump(true);
#endif
#endif
    return 0;
}
