/* The console's commands: `memleak` and its words. What they list is printed by ht_dumps.c. */
#include <string.h>

#include "ht_port.h"
#include "ht_stream.h"
#include "ht_text.h"

void ht_print_identity(struct ht_out *out)
{
    const uint8_t *build = NULL;
    size_t length = ht_port_build_id(&build);
    length = build == NULL ? 0 : length;
    ht_text(out, " agent=" HT_AGENT_VERSION " build=");
    for (size_t i = 0; i < length && i < 20; i++) {
        const char *digits = "0123456789abcdef";
        ht_text(out, (const char[]){digits[build[i] >> 4], digits[build[i] & 15u], 0});
    }
    ht_text(out, length == 0 ? "none" : "");
}

#if HT_DUMPS
#define DUMP_WORDS "show\0show compact\0sites\0"
#else
#define DUMP_WORDS
#endif
#if HT_STREAM
#define STREAM_WORDS "stream\0stream 0\0"
#else
#define STREAM_WORDS
#endif

/* In the order of WORDS. */
enum command {
    STOP,
#if HT_DUMPS
    SHOW, COMPACT, SITES,
#endif
    PAUSE, RESUME,
#if HT_STREAM
    STREAM, STREAM_END,
#endif
    UNKNOWN
};
static const char WORDS[] = "0\0" DUMP_WORDS "pause\0resume\0" STREAM_WORDS;

static enum command command_of(struct ht_out *out, int argc, const char *const argv[])
{
    if (argc < 2 || argc > 3) {
        return UNKNOWN;
    }
    ht_text(out, argv[1]);
    ht_text(out, argc == 3 ? " " : "");
    ht_text(out, argc == 3 ? argv[2] : "");
    out->line[out->used] = 0;
    out->used = 0;
    unsigned command = STOP;
    for (const char *word = WORDS; *word != 0 && strcmp(out->line, word) != 0; word += strlen(word) + 1) {
        command++;
    }
    return (enum command)command;
}

/* The stream ends before the listing, and the listing before all is forgotten. */
static void stop(struct ht_out *out)
{
#if HT_STREAM
    (void)ht_console_stream_end();
#endif
#if HT_DUMPS
    ht_print_dump(out, HT_DUMP_LAST);
    ht_clear();
#else
    ht_clear();
    ht_text(out, "    memleak: off");
    ht_end_line(out);
#endif
}

static void print_usage(struct ht_out *out)
{
    ht_text(out, "Usage: memleak [<1");
    for (const char *word = WORDS; *word != 0; word += strlen(word) + 1) {
        ht_text(out, "/");
        ht_text(out, word);
    }
    ht_text(out, ">] [<thread_name1> <thread_name2> <thread_name3>]");
    ht_end_line(out);
}

static void pause_or_resume(struct ht_out *out, bool pause, const char *word)
{
    bool done = pause ? ht_pause() : ht_resume();
    ht_text(out, done ? "    memleak: " : "    memleak: nothing to ");
    ht_text(out, word);
    ht_text(out, done ? "d" : "");
    ht_end_line(out);
}

bool ht_console(int argc, const char *const argv[], ht_put put, void *context)
{
    struct ht_out out = {.put = put, .context = context};
    if (argc > 1 && strcmp(argv[1], "1") == 0 && ht_start(argv + 2, (size_t)(argc - 2))) {
        return true;
    }
    enum command command = command_of(&out, argc, argv);
    switch (command) {
    case STOP:
        stop(&out);
        break;
#if HT_DUMPS
    case SHOW:
    case COMPACT:
    case SITES:
        ht_print_dump(&out, (enum ht_dump)(command - SHOW + HT_DUMP_SHOW));
        break;
#endif
    case PAUSE:
    case RESUME:
        pause_or_resume(&out, command == PAUSE, argv[1]);
        break;
#if HT_STREAM
    case STREAM:
    case STREAM_END:
        ht_console_stream(&out, command == STREAM);
        break;
#endif
    case UNKNOWN:
        print_usage(&out);
        break;
    }
    return command != UNKNOWN;
}
