/* The event stream on the line that the console uses: see ht_stream.h, and SPEC.md, "Stream on the console". */
#include "ht_stream.h"

#if HT_STREAM

#include <string.h>

#include "ht_port.h"
#include "ht_stream_tap.h"
#include "ht_text.h"

static struct {
    ht_stream_write write;
    void *context;
    bool on, ending, busy;
    uint32_t frames, bytes;
} line;

void ht_stream_output(ht_stream_write write, void *context)
{
    line.context = context;
    line.write = write;
}

static void write_text(void *unused, const char *text)
{
    (void)unused;
    line.write(line.context, (const uint8_t *)text, strlen(text));
}

static void print_off(void)
{
    struct ht_out out = {.put = write_text};
    uint32_t events;
    uint32_t dropped;
    (void)ht_stream_numbers(&events, &dropped);
    ht_field(&out, "    heaptrail: stream off frames=", line.frames);
    ht_field(&out, " bytes=", line.bytes);
    ht_field(&out, " events=", events);
    ht_field(&out, " dropped=", dropped);
    ht_end_line(&out);
}

bool ht_stream_pump(bool flush)
{
    uint8_t bytes[1 + HT_WIRE_FRAME_BYTES];
    uintptr_t saved = ht_port_lock();
    bool mine = line.on && !line.busy;
    bool ending = line.ending; /* looked at first: what is taken below is then the last */
    line.busy = line.busy || mine;
    ht_port_unlock(saved);
    if (!mine) {
        return false;
    }
    bytes[0] = 0;
    size_t taken = ht_stream_take(bytes + 1, flush);
    if (taken != 0) {
        line.frames++;
        line.bytes += (uint32_t)taken + 1;
        line.write(line.context, bytes, taken + 1);
    } else if (ending) {
        print_off();
    }
    saved = ht_port_lock();
    line.on = taken != 0 || !ending;
    line.busy = false;
    ht_port_unlock(saved);
    return taken != 0;
}

bool ht_console_stream_end(void)
{
    uintptr_t saved = ht_port_lock();
    bool on = line.on;
    line.ending = on;
    ht_port_unlock(saved);
    if (on) {
        ht_stream_end();
        while (ht_stream_pump(true)) {
        }
    }
    return on;
}

static void say(struct ht_out *out, const char *what)
{
    ht_text(out, "    memleak: ");
    ht_text(out, what);
    ht_end_line(out);
}

void ht_console_stream(struct ht_out *out, bool begin)
{
    ht_totals totals;
    uint32_t events;
    uint32_t dropped;
    ht_get_totals(&totals);
    if (!begin) {
        if (!ht_console_stream_end()) {
            say(out, "no stream to end");
        }
        return;
    }
    if (line.write == NULL) {
        say(out, "the stream has no output: call ht_stream_output");
        return;
    }
    if (!line.on && ht_stream_numbers(&events, &dropped)) {
        say(out, "the stream goes elsewhere already");
        return;
    }
    ht_text(out, "    heaptrail: stream on wire=1");
    ht_print_identity(out);
    ht_field(out, " ticks=", ht_port_ticks_per_s());
    ht_field(out, " frames=", HT_STREAM_FRAMES);
    ht_field(out, " filters=", totals.filters);
    ht_text(out, totals.paused ? " state=paused" : " state=on");
    ht_end_line(out);
    if (line.on) {
        ht_stream_repeat();
        return;
    }
    ht_stream_begin();
    if (!totals.on) {
        (void)ht_start(NULL, 0);
    }
    uintptr_t saved = ht_port_lock();
    line.frames = line.bytes = 0;
    line.ending = false;
    line.on = true;
    ht_port_unlock(saved);
}

#else
typedef int ht_stream_console_is_off; /* a translation unit must not be empty */
#endif
