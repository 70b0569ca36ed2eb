/* The case's player as a program: options, the console's commands, boot, reboot and a clean end. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "console.h"
#include "heap_4.h"
#include "ht_agent.h"
#include "ht_port_posix.h"
#include "library.h"
#include "rtplayer.h"
#include "sink.h"
#include "system.h"
#include "task.h"
#include "trace.h"

static char **program_arguments;

static void print_agent_line(void *context, const char *line)
{
    (void)context;
    console_text(line);
}

static void print_tasks(void)
{
    /* vTaskList's caller takes its table from the heap too: looking moves "Min Free". */
    size_t room = task_count() + 4;
    task_row *rows = pvPortMalloc(room * sizeof *rows);
    if (rows == NULL) {
        console_line("no memory for the task list");
        return;
    }
    size_t count = task_list(rows, room);
    console_text("\n\n      List Task MIN Free Stack(unit: word)      \n");
    console_text("Task          State  Priority  Stack      #\n************************************************\n");
    console_text("Name\t\tState\tPri\tHWM\tIdx\tStkCur\t\tStkBot\n");
    for (size_t i = 0; i < count; i++) {
        console_line("%-15s\t%c\t%u\t%zu\t%u\t%#zx\t%#zx", rows[i].name, rows[i].state, rows[i].priority,
                     rows[i].stack_free_min_words, rows[i].number, (size_t)rows[i].stack_current,
                     (size_t)rows[i].stack_bottom);
    }
    vPortFree(rows);
}

static void print_free(long rounds)
{
    for (long round = 1; round <= rounds; round++) {
        size_t free_bytes = xPortGetFreeHeapSize();
        size_t min_bytes = xPortGetMinimumEverFreeHeapSize();
        console_line("==> Round [%ld] <==", round);
        console_line("Total Heap Size : %8d Bytes    (%5d KB)", HEAP_TOTAL_BYTES, HEAP_TOTAL_BYTES >> 10);
        console_line("           Free : %8zu Bytes    (%5zu KB)", free_bytes, free_bytes >> 10);
        console_line("       Min Free : %8zu Bytes    (%5zu KB)", min_bytes, min_bytes >> 10);
        print_tasks();
        if (round < rounds && !console_sleep(1000)) {
            return;
        }
    }
}

static void reboot_program(void)
{
    console_line("rebooting");
    console_close();
    trace_close();
    (void)execv("/proc/self/exe", program_arguments);
    console_line("reboot: %s", strerror(errno));
}

static void print_help(void)
{
    console_text("rtplayer_test FILE   play a WAV file (IMA ADPCM, mono)\n"
                 "l                    loop: begin again at the end of each round\n"
                 "b                    background (the console stays free in any case)\n"
                 "rtpc q               quit playback\n"
                 "free [rounds]        heap and tasks, once a second\n"
                 "memleak ...          the tracer; alone it prints its usage\n"
                 "fault N              damaged tags in the next N rounds (with --error-path)\n"
                 "reboot               start again with an empty heap\n"
                 "help                 this\n");
}

static void no_player(bool done)
{
    if (!done) {
        console_line("nothing is playing: rtplayer_test FILE begins");
    }
}

static void run_command(int argc, const char *argv[])
{
    const char *name = argv[0];
    if (strcmp(name, "free") == 0) {
        long rounds = argc > 1 ? strtol(argv[1], NULL, 10) : 1;
        print_free(rounds > 0 ? rounds : 1);
    } else if (strcmp(name, "memleak") == 0) {
        if (argc > 1 && strcmp(argv[1], "stream") == 0) {
            trace_to_console();
        }
        (void)ht_console(argc, argv, print_agent_line, NULL);
    } else if (strcmp(name, "rtplayer_test") == 0 && argc == 2) {
        if (rtplayer_play(argv[1])) {
            console_line("rtplayer_test: playing %s", argv[1]);
        }
    } else if (strcmp(name, "l") == 0) {
        no_player(rtplayer_loop());
    } else if (strcmp(name, "b") == 0) {
        console_line("rtplayer_test: in background");
    } else if (strcmp(name, "rtpc") == 0 && argc == 2 && strcmp(argv[1], "q") == 0) {
        bool played = rtplayer_quit();
        no_player(played);
        if (played) {
            console_line("rtplayer_test: playback ended");
        }
    } else if (strcmp(name, "fault") == 0 && argc == 2) {
        long rounds = strtol(argv[1], NULL, 10);
        if (!library_fault(rounds > 0 ? (unsigned)rounds : 0)) {
            console_line("fault: start the program with --error-path");
        }
    } else if (strcmp(name, "reboot") == 0) {
        reboot_program();
    } else if (strcmp(name, "help") == 0) {
        print_help();
    } else {
        console_line("%.40s: not a command, or not so; help lists them", name);
    }
}

static void cli_task(void *argument)
{
    (void)argument;
    console_run(run_command);
    (void)rtplayer_quit();
    console_close();
    exit(EXIT_SUCCESS);
}

static void usage(FILE *to)
{
    (void)fputs("usage: rtplayer [options]\n"
                "  --speed X               1 real time (default), 20 twenty times as fast, 0 as fast as it can\n"
                "  --rounds-per-second N   at most N rounds of playback begin in a second (default: no cap)\n"
                "  --round-ms N            sound in one round, whatever the file's length (default: the file's)\n"
                "  --sink FILE             write what is played there: 48 kHz, mono, 16 bits\n"
                "  --drip N                every N rounds, lose one more block of 24 bytes\n"
                "  --cache N               a cache that grows for N rounds and then is full: no leak\n"
                "  --trace FILE            write every allocation and free there, for heaptrail trace\n"
                "  --error-path            read tags each round; the command `fault N` damages those of N rounds\n"
                "  --help\n",
                to);
}

/* A number of `least` or more, or the program ends with a sentence. */
static double number(const char *option, const char *given, double least)
{
    char *end = NULL;
    double value = strtod(given, &end);
    if (end == given || *end != 0 || !(value >= least && value <= 1e9)) {
        (void)fprintf(stderr, "rtplayer: --%s takes a number from %g, not %s\n", option, least, given);
        exit(2);
    }
    return value;
}

static void read_options(int argc, char *argv[])
{
    enum { SPEED = 1, RATE, ROUND, SINK, DRIP, CACHE, TRACE, ERROR_PATH, HELP };
    static const struct option OPTIONS[] = {
        {"speed", required_argument, NULL, SPEED},   {"rounds-per-second", required_argument, NULL, RATE},
        {"round-ms", required_argument, NULL, ROUND}, {"sink", required_argument, NULL, SINK},
        {"drip", required_argument, NULL, DRIP},     {"cache", required_argument, NULL, CACHE},
        {"trace", required_argument, NULL, TRACE},
        {"error-path", no_argument, NULL, ERROR_PATH}, {"help", no_argument, NULL, HELP},
        {NULL, 0, NULL, 0},
    };
    rtplayer_options player = {0};
    library_options library = {0};
    double speed = 1.0;
    const char *sink_path = NULL;
    const char *trace_path = NULL;
    int at = 0;
    for (int option; (option = getopt_long(argc, argv, "", OPTIONS, &at)) != -1;) {
        if (option == SPEED) {
            speed = number("speed", optarg, 0);
        } else if (option == RATE) {
            player.rounds_per_second = number("rounds-per-second", optarg, 0);
        } else if (option == ROUND) {
            player.round_s = number("round-ms", optarg, 0) / 1000.0;
        } else if (option == SINK) {
            sink_path = optarg;
        } else if (option == DRIP) {
            library.drip_rounds = (unsigned)number("drip", optarg, 1);
        } else if (option == CACHE) {
            library.cache_rounds = (unsigned)number("cache", optarg, 1);
        } else if (option == TRACE) {
            trace_path = optarg;
        } else if (option == ERROR_PATH) {
            library.error_path = true;
        } else {
            usage(option == HELP ? stdout : stderr);
            exit(option == HELP ? EXIT_SUCCESS : 2);
        }
    }
    if (optind != argc) {
        usage(stderr);
        exit(2);
    }
    rtplayer_configure(&player);
    library_configure(&library);
    sink_configure(speed, sink_path);
    if (trace_path != NULL && !trace_open(trace_path)) {
        (void)fprintf(stderr, "rtplayer: %s: %s\n", trace_path, strerror(errno));
        exit(2);
    }
}

int main(int argc, char *argv[])
{
    HT_POSIX_ATTACH();
    program_arguments = argv;

    /* Before any thread exists, so that all inherit it: signals are main's alone, which waits for them below. */
    sigset_t endings;
    (void)sigemptyset(&endings);
    (void)sigaddset(&endings, SIGTERM);
    (void)sigaddset(&endings, SIGINT);
    (void)sigaddset(&endings, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &endings, NULL);
    read_options(argc, argv);
    (void)signal(SIGPIPE, SIG_IGN);

    console_open();
    console_line("*** rtplayer boot: heap_4, %d bytes ***", HEAP_TOTAL_BYTES);
    if (!system_start() || task_create("CLI", 6, 0x7d40, cli_task, NULL) == NULL) {
        console_line("boot: no memory");
        console_close();
        return EXIT_FAILURE;
    }
    int which = 0;
    (void)sigwait(&endings, &which);
    console_interrupt();
    (void)sleep(2); /* the CLI task ends the program, unless it stands in a write that nobody reads */
    console_close();
    _exit(EXIT_SUCCESS);
}
