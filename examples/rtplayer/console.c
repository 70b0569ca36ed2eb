#define _GNU_SOURCE
#include "console.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { LINE_BYTES = 256, MAX_WORDS = 16 };

static const char PROMPT[] = "c906>";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool mid_line; /* the cursor is not at a line's start */
static int wake[2] = {-1, -1};
static bool is_terminal;
static struct termios before;

/* Called with the lock held. */
static void put(const char *bytes, size_t count)
{
    if (count > 0) {
        mid_line = bytes[count - 1] != '\n';
    }
    while (count > 0) {
        ssize_t written = write(STDOUT_FILENO, bytes, count);
        if (written <= 0) {
            return; /* nobody reads any more; the end of the input tells console_run */
        }
        bytes += written;
        count -= (size_t)written;
    }
}

void console_text(const char *text)
{
    (void)pthread_mutex_lock(&lock);
    if (mid_line) {
        put("\n", 1);
    }
    put(text, strlen(text));
    (void)pthread_mutex_unlock(&lock);
}

void console_bytes(const uint8_t *bytes, size_t count)
{
    (void)pthread_mutex_lock(&lock);
    bool was_mid_line = mid_line;
    struct termios translating;
    bool translates = tcgetattr(STDOUT_FILENO, &translating) == 0 && (translating.c_oflag & OPOST) != 0;
    if (translates) {
        struct termios plain = translating;
        plain.c_oflag &= ~(tcflag_t)OPOST;
        (void)tcsetattr(STDOUT_FILENO, TCSANOW, &plain);
    }
    put((const char *)bytes, count);
    if (translates) {
        (void)tcsetattr(STDOUT_FILENO, TCSANOW, &translating);
    }
    mid_line = was_mid_line;
    (void)pthread_mutex_unlock(&lock);
}

void console_line(const char *format, ...)
{
    char line[LINE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line - 1, format, arguments);
    va_end(arguments);
    if (length >= 0) {
        size_t end = (size_t)length < sizeof line - 2 ? (size_t)length : sizeof line - 2;
        line[end] = '\n';
        line[end + 1] = 0;
        console_text(line);
    }
}

static void echo(const char *bytes, size_t count)
{
    (void)pthread_mutex_lock(&lock);
    put(bytes, count);
    (void)pthread_mutex_unlock(&lock);
}

void console_open(void)
{
    if (pipe2(wake, O_CLOEXEC) != 0) {
        wake[0] = wake[1] = -1;
    }
    is_terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;
    if (is_terminal) {
        struct termios raw = before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
}

void console_close(void)
{
    if (is_terminal) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &before);
    }
}

void console_interrupt(void)
{
    ssize_t ignored = write(wake[1], "", 1);
    (void)ignored;
}

bool console_sleep(int milliseconds)
{
    struct pollfd interrupted = {.fd = wake[0], .events = POLLIN};
    return poll(&interrupted, 1, milliseconds) == 0;
}

/* One more typed byte; true when it ends the line. Only a terminal gets an echo. */
static bool edit(char *line, size_t *length, char byte)
{
    bool ends = byte == '\n' || byte == '\r';
    bool erases = byte == 0x7f || byte == '\b';
    const char *shown = "";
    size_t shown_length = 0;
    if (ends) {
        shown = "\n";
        shown_length = 1;
    } else if (erases && *length > 0) {
        --*length;
        shown = "\b \b";
        shown_length = 3;
    } else if (byte >= ' ' && byte != 0x7f && *length < LINE_BYTES - 1) {
        line[(*length)++] = byte;
        shown = &line[*length - 1];
        shown_length = 1;
    }
    line[*length] = 0;
    if (is_terminal && shown_length > 0) {
        echo(shown, shown_length);
    }
    return ends;
}

static void run_line(char *line, console_command command)
{
    const char *words[MAX_WORDS + 1] = {NULL};
    int count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(line, " \t", &rest); word != NULL && count < MAX_WORDS; word = strtok_r(NULL, " \t", &rest)) {
        words[count++] = word;
    }
    if (count > 0) {
        command(count, words);
    }
}

void console_run(console_command command)
{
    char line[LINE_BYTES] = "";
    char typed[LINE_BYTES];
    size_t length = 0;
    echo(PROMPT, sizeof PROMPT - 1);
    for (;;) {
        struct pollfd ready[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = wake[0], .events = POLLIN}};
        if (poll(ready, 2, -1) < 0 || ready[1].revents != 0) {
            return;
        }
        ssize_t count = read(STDIN_FILENO, typed, sizeof typed);
        if (count <= 0) {
            return;
        }
        for (ssize_t i = 0; i < count; i++) {
            if (is_terminal && typed[i] == 4 && length == 0) { /* Ctrl-D, as no line discipline sees it */
                return;
            }
            if (edit(line, &length, typed[i])) {
                run_line(line, command);
                length = 0;
                if (!console_sleep(0)) {
                    return;
                }
                echo(PROMPT, sizeof PROMPT - 1);
            }
        }
    }
}
