/* Everything that the agent's console can say, from a scripted run: the host's dialect reads what this prints. */
#define HT_RECORDS 8
#define HT_SITES 8
#define HT_DEPTH 12
#define HT_SHOWN_ADDRESS(ret) (ret) /* the fake stacks below are addresses of no code */
#include "../../agent/src/ht_agent.c"
#include "../../agent/src/ht_build_id.c"
#include "../../agent/src/ht_console.c"
#include "../../agent/src/ht_control.c"
#include "../../agent/src/ht_dumps.c"
#include "../../agent/src/ht_read.c"
#include "../../agent/src/ht_stacks.c"
#include "../../agent/src/ht_store.c"
#include "../../agent/src/ht_text.c"

#include "check.h"

static int locks;
static uint32_t id;
static const char *name;
static uintptr_t frames[HT_DEPTH];
static size_t depth;

uintptr_t ht_port_lock(void)
{
    CHECK(locks++ == 0);
    return 0x10c4;
}

void ht_port_unlock(uintptr_t saved) { CHECK(saved == 0x10c4 && --locks == 0); }
uint32_t ht_port_thread_id(void) { return id; }
const char *ht_port_thread_name(void) { return name; }

size_t ht_port_backtrace(uintptr_t *pcs, size_t max, const void *frame, uintptr_t ret)
{
    (void)frame, (void)ret;
    memcpy(pcs, frames, (depth < max ? depth : max) * sizeof pcs[0]);
    return depth < max ? depth : max;
}

static void as(uint32_t task, const char *called)
{
    id = task;
    name = called;
}

static void from(size_t deep, uintptr_t caller)
{
    frames[0] = 0x08336aee;
    for (size_t i = 1; i < deep; i++) {
        frames[i] = caller + 0x40 * (i - 1);
    }
    depth = deep;
}

static void put(void *context, const char *line)
{
    (void)context;
    (void)fputs(line, stdout);
}

static void type(int argc, const char *first, const char *second)
{
    const char *argv[] = {"memleak", first, second, NULL};
    (void)printf("c906>memleak %s%s%s\n", first, second != NULL ? " " : "", second != NULL ? second : "");
    (void)ht_console(argc, argv, put, NULL);
    (void)puts("c906>");
}

static void run(void)
{
    as(HT_ID_STARTUP, NULL);
    from(2, 0x08400100);
    ht_on_malloc((void *)0x08700000, 64, 80);
    as(50, "AudioRender");
    for (uintptr_t i = 0; i < 3; i++) {
        from(6, 0x08396d52);
        ht_on_malloc((void *)(0x0875f990 + i * 0x1000), 0xf00, 0xf10);
    }
    from(11, 0x0839757e);
    ht_on_malloc((void *)0x08760000, 0xf00, 0);
    from(4, 0x08446856);
    ht_on_free_by((void *)0x08760990, (void *)0x1);
    as(HT_ID_ISR, NULL);
    from(0, 0);
    ht_on_malloc((void *)0x08770000, 12, 16);
    ht_on_malloc(NULL, 5000, 0);
    as(3, "Tmr Svc");
    from(3, 0x084496c6);
    ht_on_free_by((void *)0x08760990, (void *)0x2);
    ht_on_free_by(NULL, (void *)0x3);
}

int main(int argc, char *argv[])
{
    (void)argc;
    if (strcmp(argv[1], "all") == 0) {
        type(2, "1", NULL);
        run();
        type(2, "sites", NULL);
        type(3, "show", "compact");
        type(2, "show", NULL);
        type(2, "0", NULL);
    } else { /* a filter, a pause, a pool that is too small */
        type(3, "1", "AudioRender");
        run();
        as(50, "AudioRender");
        from(3, 0x08500000);
        for (uintptr_t i = 0; i < HT_RECORDS; i++) {
            ht_on_malloc((void *)(0x08780000 + 0x100 * i), 24, 32);
        }
        type(2, "pause", NULL);
        ht_on_malloc((void *)0x08799000, 24, 32);
        type(3, "show", "compact");
        type(2, "resume", NULL);
        type(2, "0", NULL);
        type(3, "show", "compact");
    }
    CHECK(locks == 0);
    return 0;
}
