/* The application (RTplayerThread) and the engine behind it (XPlayer), and the console's way to both. */
#include "rtplayer.h"

#include "clock.h"
#include "console.h"
#include "heap_4.h"
#include "ht_stream.h"
#include "library.h"
#include "pipeline.h"
#include "system.h"

enum event { EVENT_END, EVENT_START, EVENT_LOOP, EVENT_ROUND_DONE, EVENT_FAILED };

typedef struct {
    pipeline line;
    queue to_application, to_engine, to_console;
    task *application, *engine, *demux, *decode, *render;
} player;

static rtplayer_options configured;
static player *playing;
static atomic_bool quitting;
static atomic_bool announced; /* whether the first start came about */
static atomic_bool failed;    /* this round; told once, so that no queue fills with it */

void rtplayer_configure(const rtplayer_options *options) { configured = *options; }

bool rtplayer_quitting(void) { return atomic_load(&quitting); }

void rtplayer_round_done(void) { queue_put(&playing->to_engine, EVENT_ROUND_DONE); }

/* The console waits for the first of these. */
static void announce(bool started)
{
    if (!atomic_exchange(&announced, true)) {
        queue_put(&playing->to_console, started);
    }
}

void rtplayer_started(void) { announce(true); }

void rtplayer_failed(void)
{
    announce(false);
    if (!atomic_exchange(&failed, true)) {
        queue_put(&playing->to_engine, EVENT_FAILED);
    }
}

void owned_renew(void **owned, size_t bytes)
{
    void *next = pvPortMalloc(bytes);
    owned_free(owned);
    *owned = next;
}

void owned_free(void **owned)
{
    if (*owned != NULL) {
        vPortFree(*owned);
        *owned = NULL;
    }
}

static void engine_task(void *argument)
{
    player *p = argument;
    void *state = NULL;
    for (uintptr_t event; (event = queue_get(&p->to_engine)) != EVENT_END;) {
        if (event == EVENT_START) {
            owned_renew(&state, 384);
            queue_put(&p->line.to_demux, EVENT_START);
        } else {
            queue_put(&p->to_application, event);
        }
    }
    owned_free(&state);
    queue_put(&p->line.to_demux, PIPELINE_END);
}

typedef struct {
    player *p;
    void *playlist;
    unsigned round;
    bool loop, busy;
    struct timespec started; /* the round, or when it should have been for the cap's sake */
} application;

/* Wait until the cap lets the next round begin; an event that comes meanwhile is given back. */
static bool wait_for_turn(application *a, uintptr_t *event)
{
    if (configured.rounds_per_second <= 0) {
        return false;
    }
    struct timespec turn = clock_add(a->started, 1.0 / configured.rounds_per_second);
    return queue_get_before(&a->p->to_application, event, &turn);
}

static void begin_round(application *a)
{
    owned_renew(&a->playlist, 512);
    a->round++;
    a->busy = true;
    atomic_store(&failed, false);
    a->started = clock_now();
    queue_put(&a->p->to_engine, EVENT_START);
}

static void end_round(application *a)
{
    a->busy = false;
    library_round_ended(a->round);
    ht_stream_mark(HT_WIRE_CYCLE, a->round);
    console_line("playback round %u complete", a->round);
    system_tick();
}

static void application_task(void *argument)
{
    application a = {.p = argument};
    uintptr_t event = EVENT_START;
    for (;;) {
        if (event == EVENT_START) {
            begin_round(&a);
        } else if (event == EVENT_LOOP) {
            a.loop = true;
        } else if (event == EVENT_ROUND_DONE) {
            end_round(&a);
        } else if (event == EVENT_FAILED && a.busy) {
            a.busy = a.loop = false;
            console_line("rtplayer_test: playback stopped in round %u", a.round);
        } else if (event == EVENT_END) {
            break;
        }
        if (a.loop && !a.busy) {
            if (!wait_for_turn(&a, &event)) {
                event = EVENT_START;
            }
        } else {
            event = queue_get(&a.p->to_application);
        }
    }
    owned_free(&a.playlist);
    queue_put(&a.p->to_engine, EVENT_END);
}

/* The tasks end one after the other, each having told the next. */
static void end_tasks(player *p)
{
    task_join(p->application);
    task_join(p->engine);
    task_join(p->demux);
    task_join(p->decode);
    task_join(p->render);
    demux_close();
    vPortFree(p);
}

bool rtplayer_play(const char *path)
{
    if (playing != NULL) {
        console_line("rtplayer_test: something is playing, rtpc q ends it");
        return false;
    }
    player *p = pvPortCalloc(1, sizeof *p);
    if (p == NULL) {
        console_line("rtplayer_test: no memory");
        return false;
    }
    if (!demux_open(path, &p->line.rate)) {
        vPortFree(p);
        return false;
    }
    demux_set_round(configured.round_s);
    queue *queues[] = {&p->line.to_demux, &p->line.to_decoder, &p->line.to_render,
                       &p->to_engine,     &p->to_application,  &p->to_console};
    for (size_t i = 0; i < sizeof queues / sizeof queues[0]; i++) {
        queue_init(queues[i]);
    }
    atomic_store(&quitting, false);
    atomic_store(&announced, false);
    playing = p;
    ht_stream_mark(HT_WIRE_WORKLOAD_START, 0);
    /* From the end of the line to its beginning: what is made so far can always be ended. */
    p->render = task_create("AudioRender", 6, 0x7d40, AudioRender_task, &p->line);
    p->decode = p->render == NULL ? NULL : task_create("AudioDecode", 4, 0x8000, AudioDecode_task, &p->line);
    p->demux = p->decode == NULL ? NULL : task_create("Demux", 6, 0x8000, Demux_task, &p->line);
    p->engine = p->demux == NULL ? NULL : task_create("XPlayer", 4, 0x8000, engine_task, p);
    p->application = p->engine == NULL ? NULL : task_create("RTplayerThread", 4, 0x8000, application_task, p);
    if (p->application == NULL) {
        console_line("rtplayer_test: no memory for the tasks");
        queue *first = p->engine != NULL   ? &p->to_engine
                       : p->demux != NULL  ? &p->line.to_demux
                       : p->decode != NULL ? &p->line.to_decoder
                                           : &p->line.to_render;
        if (p->render != NULL) {
            queue_put(first, PIPELINE_END);
        }
        end_tasks(p);
        playing = NULL;
        return false;
    }
    return queue_get(&p->to_console) != 0;
}

bool rtplayer_loop(void)
{
    if (playing != NULL) {
        queue_put(&playing->to_application, EVENT_LOOP);
    }
    return playing != NULL;
}

bool rtplayer_quit(void)
{
    if (playing == NULL) {
        return false;
    }
    atomic_store(&quitting, true);
    ht_stream_mark(HT_WIRE_WORKLOAD_STOP, 0);
    queue_put(&playing->to_application, EVENT_END);
    end_tasks(playing);
    playing = NULL;
    ht_stream_mark(HT_WIRE_TEARDOWN_DONE, 0);
    return true;
}
