"""Reports of the kinds that renderers meet: the case's leak, its mended twin, the bare log, nothing, hostile, huge."""

from __future__ import annotations

import msgspec

from heaptrail.model.evidence import CaptureInfo
from heaptrail.model.report import (
    Finding,
    Frame,
    ImageInfo,
    Point,
    Provenance,
    Report,
    ReportProblem,
    Series,
    Site,
    SourceExcerpt,
    TaskRow,
)
from heaptrail.model.verdict import Books, Fit, Interval, UpperBound
from heaptrail.units import plural

TOTAL_BYTES = 1_907_128
BLOCK_BYTES = 0xF00
FOOTPRINT_BYTES = 0xF00 + 8
CYCLES = 35
TRACER_FROM = 20
TRACER_UNTIL = 32
AUDIO = "/home/dev/rtos/components/common/aw/AudioSystem"
PLAYBACK = "/home/dev/cedarx/libcore/playback/src"
HEAP_4 = "/home/dev/rtos/kernel/FreeRTOS-orig/Source/portable/MemMang/heap_4.c"

_TASK_ROWS = """
adb-shell X 4 394 44;AudioDecode R 4 3872 49;IDLE R 0 52 2;tcpip B 3 458 12;Demux B 6 3126 47;
usb-hardware-sc B 6 8018 14;adbd-input B 5 900 24;amp-admin B 6 4002 11;AudioMT2pb B 4 3882 52;
AudioRender B 6 3350 50;amp-ser2 B 6 4006 8;amp-ser3 B 6 4006 9;amp-ser4 B 6 4006 10;hub-main-thread B 6 8082 13;
adbd-shell-ser- B 4 906 45;XPlayer B 4 3912 48;AudioMT2 B 4 1907 18;RTplayerThread B 4 3989 51;CLI B 6 3772 15;
Tmr-Svc B 6 374 3;amp-send-task B 6 924 4;amp-recv-task B 6 924 5;adbd-output B 5 843 25;adb-event B 5 890 46;
amp-ser0 B 6 4006 6;amp-ser1 B 6 4006 7
"""

_SOFTVOL = SourceExcerpt(
    first_line=245,
    lines=(
        "static int softvol_ap_update_mode(struct audio_plugin *ap, struct pcm_config *in)",
        "{",
        "\tstruct softvol *vol = ap->private_data;",
        "\tsize_t frames = in->period_size * in->periods;",
        "",
        "\tvol->buffer = calloc(frames, in->channels * sizeof(int16_t)); /* one for each start */",
        "\tif (vol->buffer == NULL)",
        "\t\treturn -ENOMEM;",
        "\tvol->channels = in->channels;",
        "\treturn 0;",
        "}",
    ),
)
_RESAMPLE = SourceExcerpt(
    first_line=407,
    lines=(
        "\tif (in->rate == out->rate)",
        "\t\treturn resample_bypass(ap);",
        "",
        "\trs->work = calloc(1, rs->work_bytes);",
        "\tif (rs->work == NULL)",
        "\t\treturn -ENOMEM;",
    ),
)
_START = SourceExcerpt(
    first_line=160,
    lines=(
        "\tfor (i = 0; i < at->plugin_count; i++) {",
        "\t\tap = at->plugins[i];",
        "\t\tif (ap->ops->update_mode)",
        "\t\t\tret = ap->ops->update_mode(ap, &at->in, &at->out);",
        "\t\tif (ret < 0)",
        "\t\t\tgoto failed;",
    ),
)


def _frame(pc: int, function: str, file: str, line: int, **more: object) -> Frame:
    return Frame(pc=pc, kind="call", function=function, file=file, line=line, module="rtplayer.elf", **more)  # type: ignore[arg-type]


def _site_frames(naming: Frame) -> tuple[Frame, ...]:
    return (
        _frame(0x08336AEE, "pvPortMalloc", HEAP_4, 658, wrapper=True),
        _frame(0x08336B46, "pvPortCalloc", HEAP_4, 577, wrapper=True),
        naming,
        _frame(0x084B025E, "_AudioTrackStart", f"{AUDIO}/AudioTrack.c", 163, excerpt=_START),
        _frame(0x08446856, "RTSoundDeviceStart", f"{PLAYBACK}/rtosSoundControl.c", 766),
        _frame(0x084496C6, "startSoundDevice", f"{PLAYBACK}/audioRenderComponent.c", 800, inlined=True),
        _frame(0x084496C6, "doRender", f"{PLAYBACK}/audioRenderComponent.c", 942, inlined=True),
        _frame(0x084496C6, "doRender", f"{PLAYBACK}/audioRenderComponent.c", 898),
    )


def _leak_site(naming: Frame, first_address: int) -> Site:
    live = TRACER_UNTIL - TRACER_FROM
    return Site(
        name=naming.function,
        file=naming.file,
        line=naming.line,
        frames=_site_frames(naming),
        live_blocks=live,
        live_bytes=live * BLOCK_BYTES,
        size_kind="requested",
        sizes_bytes=(BLOCK_BYTES,),
        per_cycle_blocks=1.0,
        per_cycle_bytes=float(BLOCK_BYTES),
        per_cycle_footprint_bytes=float(FOOTPRINT_BYTES),
        counts=tuple((TRACER_FROM + step, step) for step in range(0, live + 1, 2)),
        tasks=("AudioRender",),
        addresses=tuple(first_address - 0x1E40 * n for n in range(live)),
    )


SOFTVOL = _leak_site(
    _frame(0x08396D52, "softvol_ap_update_mode", f"{AUDIO}/audio_plugin/softvolume.c", 250, excerpt=_SOFTVOL),
    0x08760960,
)
RESAMPLE = _leak_site(
    _frame(0x0839757E, "resample_ap_update_mode", f"{AUDIO}/audio_plugin/resample.c", 410, excerpt=_RESAMPLE),
    0x0875F990,
)

LEAK_FINDING = Finding(
    finding_class="leak",
    summary=(
        "softvol_ap_update_mode (softvolume.c:250) and resample_ap_update_mode (resample.c:410) each leave "
        "1 block of 3,840 B (0xf00) per cycle, reached from _AudioTrackStart (AudioTrack.c:163)"
    ),
    sites=(SOFTVOL, RESAMPLE),
    live_blocks=24,
    live_bytes=24 * BLOCK_BYTES,
    per_cycle_blocks=2.0,
    per_cycle_bytes=2.0 * BLOCK_BYTES,
    per_cycle_footprint_bytes=2.0 * FOOTPRINT_BYTES,
    tasks=("AudioRender",),
    evidence=(
        "softvol_ap_update_mode: 1 block more in each of 12 traced cycles, never fewer",
        "resample_ap_update_mode: 1 block more in each of 12 traced cycles, never fewer",
        "at teardown 1 block of each site was freed, 11 stayed",
    ),
    advice=(
        (
            "The last block goes at teardown and the earlier ones stay: the pointer is probably overwritten by the "
            "next cycle's allocation. Free it before allocating again, or allocate once where its owner is created."
        ),
    ),
)


def _innocent(finding_class: str, function: str, file: str, line: int, *, blocks: int, size: int, task: str) -> Finding:
    site = Site(
        name=function,
        file=f"/home/dev/{file}",
        line=line,
        frames=(
            _frame(0x08336AEE, "pvPortMalloc", HEAP_4, 658, wrapper=True),
            _frame(0x08400000 + line * 16, function, f"/home/dev/{file}", line),
            _frame(0x08410000 + line * 8, f"{task}Thread", f"/home/dev/{file}", line + 210),
        ),
        live_blocks=blocks,
        live_bytes=blocks * size,
        size_kind="requested",
        sizes_bytes=(size,),
        per_cycle_blocks=0.0,
        counts=tuple((TRACER_FROM + step, blocks) for step in range(2, 13, 2)),
        tasks=(task,),
        addresses=tuple(0x08700000 + line * 64 + n * size for n in range(blocks)),
    )
    name = file.rsplit("/", 1)[-1]
    ending = {"bounded": ", which does not grow any further", "one_time": ", allocated once"}.get(finding_class, "")
    return Finding(
        finding_class=finding_class,  # type: ignore[arg-type]
        summary=f"{function} ({name}:{line}) holds {plural(blocks, 'block')} of {size:,} B (0x{size:x}){ending}",
        sites=(site,),
        live_blocks=blocks,
        live_bytes=blocks * size,
        per_cycle_blocks=0.0,
        tasks=(task,),
        evidence=(f"{blocks} live blocks in 6 of 6 dumps",),
    )


INNOCENT_FINDINGS = (
    _innocent("bounded", "packet_cache_grow", "cedarx/libcore/stream/cache.c", 88, blocks=16, size=1536, task="Demux"),
    _innocent("one_time", "XPlayerPrepare", "cedarx/xplayer/xplayer.c", 411, blocks=1, size=6200, task="XPlayer"),
    _innocent("one_time", "line_history", "rtos/components/cli/history.c", 57, blocks=4, size=128, task="CLI"),
    _innocent("in_flight", "decode_frame", "cedarx/codec/mp3dec.c", 230, blocks=1, size=4608, task="AudioDecode"),
    _innocent("in_flight", "usb_rx_queue", "rtos/drivers/usb/rx.c", 119, blocks=2, size=512, task="usb-hardware-sc"),
)

PROBLEMS = (
    ReportProblem(
        what="torn_record", text="a record breaks off in its backtrace; 3 frames were read", line=1_904, boot=1
    ),
    ReportProblem(
        what="cut_line", text="another task's line stands in the middle of a table row", line=812, boot=1, count=4
    ),
)


def _points(*, boot: int, cycles: int, first_line: int, start_s: float, per_cycle: int) -> tuple[Point, ...]:
    noise = (0, 16, -8, 24, 0, -16, 8)
    points: list[Point] = []
    lowest = TOTAL_BYTES
    for cycle in range(cycles + 1):
        traced = TRACER_FROM <= cycle < TRACER_UNTIL
        free = 547_632 - per_cycle * cycle + noise[cycle % 7] * 3 - (9_216 if traced else 0)
        lowest = min(lowest, free - 11_424)
        points.append(
            Point(
                boot=boot,
                line=first_line + 44 * cycle,
                free_bytes=free,
                cycle=cycle,
                t_s=start_s + 9.4 * cycle,
                min_free_bytes=lowest,
                tracer="on" if traced else "off",
            )
        )
    return tuple(points)


def _tasks() -> tuple[TaskRow, ...]:
    rows = (row.split() for row in _TASK_ROWS.replace("\n", "").split(";"))
    return tuple(
        TaskRow(
            name=name.replace("Tmr-Svc", "Tmr Svc"),
            state=state,
            priority=int(priority),
            id=int(number),
            stack_free_min_words=int(words),
            rows=36,
        )
        for name, state, priority, words, number in rows
    )


def leak() -> Report:
    """The case: 35 rounds of playback, two sites of one cause."""
    loss = 2 * FOOTPRINT_BYTES
    return Report(
        verdict="leak",
        headline=(
            "Leak: free memory falls by 7,696 B per cycle; in softvol_ap_update_mode (softvolume.c:250) and "
            "resample_ap_update_mode (resample.c:410), 99% of it explained."
        ),
        reasons=(
            "Free memory fell in 34 of 35 cycles, by 7,696 B per cycle (7,690 to 7,703 B with 99% confidence).",
            "Two sites gained exactly one block in each of 12 traced cycles.",
            "These sites explain 92,352 B of the 93,120 B lost over the 12 cycles.",
        ),
        rate_bytes_per_cycle=Interval(low=7_690.2, estimate=float(loss), high=7_703.0),
        rate_bytes_per_hour=Interval(low=2_945_000.0, estimate=2_947_404.0, high=2_950_100.0),
        upper_bound=None,
        exhaustion_hours=Interval(low=0.093, estimate=0.0942, high=0.0951),
        exhaustion_cycles=Interval(low=35.9, estimate=36.1, high=36.4),
        books=Books(
            lost_bytes=93_120,
            explained_bytes=12 * loss,
            unexplained_bytes=93_120 - 12 * loss,
            share_explained=12 * loss / 93_120,
            window_cycles=12,
            basis="heap_4: 8 B header, 8 B alignment",
        ),
        findings=(LEAK_FINDING, *INNOCENT_FINDINGS),
        series=(
            Series(
                heap=None,
                total_bytes=TOTAL_BYTES,
                readings=CYCLES + 1,
                points=_points(boot=1, cycles=CYCLES, first_line=120, start_s=4.0, per_cycle=loss),
                fits=(
                    Fit(
                        boot=1, heap=None, x_unit="cycle", x_from=0, x_to=19, intercept_bytes=547_640, slope_bytes=-loss
                    ),
                    Fit(
                        boot=1,
                        heap=None,
                        x_unit="cycle",
                        x_from=20,
                        x_to=31,
                        intercept_bytes=538_420,
                        slope_bytes=-loss,
                    ),
                    Fit(
                        boot=1,
                        heap=None,
                        x_unit="cycle",
                        x_from=32,
                        x_to=35,
                        intercept_bytes=547_640,
                        slope_bytes=-loss,
                    ),
                ),
            ),
        ),
        tasks=_tasks(),
        problems=PROBLEMS,
        boots=1,
        cycles=CYCLES,
        provenance=Provenance(
            captures=(
                CaptureInfo(
                    name="capture.cast",
                    format="cast",
                    bytes_read=188_416,
                    lines=2_210,
                    dialects=("tina",),
                    started_unix_s=1_767_225_600.0,
                    build_id="5f3c0e9a7d214b8890c1f2aa34de77b1c0ffee01",
                ),
            ),
            elf=ImageInfo(
                name="rtplayer.elf",
                build_id="5f3c0e9a7d214b8890c1f2aa34de77b1c0ffee01",
                arch="riscv64",
                bits=64,
                debug_info=True,
            ),
            versions={"heaptrail": "0.1.0", "symbolic": "12.8.0", "python": "3.11.7"},
            options={"--cycle-mark": "playback of .* ended", "--confidence": "0.99"},
        ),
    )


def two_boots() -> Report:
    """The same leak, and a reset by itself after 22 rounds."""
    loss = 2 * FOOTPRINT_BYTES
    base = leak()
    first = _points(boot=1, cycles=22, first_line=120, start_s=4.0, per_cycle=loss)
    second = _points(boot=2, cycles=18, first_line=1_300, start_s=231.0, per_cycle=loss)
    fits = (
        Fit(boot=1, heap=None, x_unit="cycle", x_from=0, x_to=19, intercept_bytes=547_640, slope_bytes=-loss),
        Fit(boot=2, heap=None, x_unit="cycle", x_from=0, x_to=18, intercept_bytes=547_640, slope_bytes=-loss),
    )
    series = Series(heap=None, total_bytes=TOTAL_BYTES, readings=42, points=first + second, fits=fits)
    reset = ReportProblem(what="unexpected_reset", text="the board started again by itself", line=1_262, boot=2)
    return msgspec.structs.replace(base, series=(series,), boots=2, cycles=40, problems=(*PROBLEMS, reset))


def no_leak() -> Report:
    """The mended player over 60 rounds."""
    return Report(
        verdict="no_leak",
        headline=(
            "No leak: the loss is below 31 B per cycle with 99% confidence, "
            "for leaks whose single loss is at most 256 B."
        ),
        reasons=(
            "Free memory changed by +0.4 B per cycle (-28 to 31 B with 99% confidence) over 60 cycles.",
            "No site gained blocks from cycle to cycle.",
        ),
        rate_bytes_per_cycle=Interval(low=-28.0, estimate=-0.4, high=31.0),
        rate_bytes_per_hour=None,
        upper_bound=UpperBound(bytes_per_cycle=31.0, confidence=0.99, largest_single_loss_bytes=256),
        exhaustion_hours=None,
        exhaustion_cycles=None,
        books=None,
        findings=INNOCENT_FINDINGS,
        series=(
            Series(
                heap=None,
                total_bytes=TOTAL_BYTES,
                readings=61,
                points=_points(boot=1, cycles=60, first_line=90, start_s=3.0, per_cycle=0),
            ),
        ),
        tasks=_tasks(),
        problems=(),
        boots=1,
        cycles=60,
        provenance=leak().provenance,
    )


def bare_log() -> Report:
    """The case's document as it stands: two readings, two records of six raw frames, no ELF, no count of rounds."""
    tail = (0x084B025E, 0x08446856, 0x084496C6)

    def site(address: int, pc: int) -> Site:
        pcs = (0x08336AEE, 0x08336B46, pc, *tail)
        return Site(
            name=None,
            file=None,
            line=None,
            frames=tuple(Frame(pc=pc, kind="call") for pc in pcs),
            live_blocks=1,
            live_bytes=BLOCK_BYTES,
            size_kind="requested",
            sizes_bytes=(BLOCK_BYTES,),
            counts=((None, 1),),
            tasks=("AudioRender",),
            addresses=(address,),
        )

    def finding(address: int, pc: int) -> Finding:
        return Finding(
            finding_class="undecided",
            summary=(
                f"the site with backtrace 0x08336aee < 0x08336b46 < 0x{pc:08x} holds 1 block of 3,840 B (0xf00); "
                "too little was seen to say whether it grows"
            ),
            sites=(site(address, pc),),
            live_blocks=1,
            live_bytes=BLOCK_BYTES,
            tasks=("AudioRender",),
            evidence=("live in the only dump; one dump cannot show growth",),
            advice=(
                "Run more cycles, and print the live blocks at two or more moments of the run.",
                "Site unknown: give the ELF of this build with --elf to turn the addresses into functions and lines.",
            ),
        )

    return Report(
        verdict="inconclusive",
        headline="Inconclusive: free memory fell by 90,640 B between 2 readings, and two readings are no trend.",
        reasons=(
            "Free memory fell by 90,640 B between 2 readings, and two readings are no trend.",
            "The number of rounds between the readings is not in the log.",
            "Without an ELF the addresses have no names.",
        ),
        rate_bytes_per_cycle=None,
        rate_bytes_per_hour=None,
        upper_bound=None,
        exhaustion_hours=None,
        exhaustion_cycles=None,
        books=None,
        findings=(finding(0x08760960, 0x08396D52), finding(0x0875F990, 0x0839757E)),
        series=(
            Series(
                heap=None,
                total_bytes=TOTAL_BYTES,
                readings=2,
                points=(
                    Point(boot=1, line=33, free_bytes=547_632, min_free_bytes=536_208),
                    Point(boot=1, line=75, free_bytes=456_992, min_free_bytes=453_440),
                ),
            ),
        ),
        tasks=_tasks(),
        problems=(
            ReportProblem(what="no_cycles", text="nothing in the log tells the cycles; give --cycle-mark"),
            ReportProblem(what="no_elf", text="no ELF was given: sites are known by address only"),
        ),
        boots=1,
        cycles=None,
        provenance=Provenance(
            captures=(
                CaptureInfo(
                    name="r128-memleak-case.zh.md", format="text", bytes_read=7_940, lines=187, dialects=("tina",)
                ),
            ),
            elf=None,
            versions={"heaptrail": "0.1.0", "python": "3.11.7"},
            options={},
        ),
    )


def empty() -> Report:
    """Nothing was read at all."""
    return Report(
        verdict="inconclusive",
        headline="Inconclusive: the log holds no heap reading and no dump.",
        reasons=(),
        rate_bytes_per_cycle=None,
        rate_bytes_per_hour=None,
        upper_bound=None,
        exhaustion_hours=None,
        exhaustion_cycles=None,
        books=None,
        findings=(),
        series=(),
        tasks=(),
        problems=(),
        boots=1,
        cycles=None,
        provenance=Provenance(captures=(), elf=None, versions={}, options={}),
    )


EVIL = (
    "</script><script>window.pwned=1</script><img src=x onerror=window.pwned=1>"
    "\x1b[31m\x1b]0;pwned\x07\x9b2J\u202egnp.exe\u2066\u200b\x00\udc9b{{7*7}}%{y}<b>bold</b>&amp;"
)


def hostile() -> Report:
    """Every string from the device or its ELF is an attack, or ten thousand characters."""
    base = leak()
    long_name = "x" * 10_000
    frames = (
        Frame(
            pc=2**64 - 1,
            kind="return",
            function=EVIL,
            file=f"/src/{EVIL}.c",
            line=1,
            module=EVIL,
            note=EVIL,
            excerpt=SourceExcerpt(first_line=1, lines=(EVIL, "\x1b[2J" * 50, long_name)),
        ),
        Frame(pc=0, kind="call", function=long_name, file=long_name, line=2, inlined=True),
        Frame(pc=0, kind="call"),
    )
    site = msgspec.structs.replace(SOFTVOL, name=EVIL, file=EVIL, frames=frames, tasks=(EVIL, long_name))
    finding = msgspec.structs.replace(
        LEAK_FINDING, summary=EVIL, sites=(site,), tasks=(EVIL,), evidence=(EVIL,), advice=(EVIL, long_name)
    )
    series = msgspec.structs.replace(base.series[0], heap=EVIL)
    capture = CaptureInfo(name=EVIL, format="text", bytes_read=1, lines=1, dialects=(EVIL,), build_id=EVIL)
    return msgspec.structs.replace(
        base,
        headline=EVIL,
        reasons=(EVIL, long_name),
        findings=(finding, msgspec.structs.replace(finding, finding_class="one_time")),
        series=(series,),
        tasks=(TaskRow(name=EVIL, state=EVIL), TaskRow(name=long_name)),
        problems=(ReportProblem(what=EVIL, text=EVIL), ReportProblem(what="long", text=long_name)),
        provenance=Provenance(
            captures=(capture,),
            elf=ImageInfo(name=EVIL, build_id=EVIL, arch=EVIL, bits=32, debug_info=False),
            versions={EVIL: EVIL},
            options={EVIL: EVIL},
        ),
    )


def huge(sites: int = 2_000) -> Report:
    """Two thousand sites, as of a first look at a large system."""
    findings: list[Finding] = [LEAK_FINDING]
    for number in range(sites):
        shape = INNOCENT_FINDINGS[number % len(INNOCENT_FINDINGS)]
        name = f"module_{number % 37}_open_{number}"
        naming = _frame(0x08400000 + 64 * number, name, f"/home/dev/mod/m{number % 37}.c", 100 + number)
        site = msgspec.structs.replace(
            shape.sites[0],
            name=name,
            file=naming.file,
            line=naming.line,
            frames=(*SOFTVOL.frames[:2], naming, *SOFTVOL.frames[3 + number % 3 :]),
            live_bytes=16 + 97 * (number % 211),
            addresses=(),
        )
        findings.append(
            msgspec.structs.replace(
                shape,
                sites=(site,),
                live_bytes=site.live_bytes,
                summary=f"{name} holds {plural(site.live_blocks, 'block')}",
            )
        )
    return msgspec.structs.replace(leak(), findings=tuple(findings))


SAMPLES = {
    "leak": leak,
    "two_boots": two_boots,
    "no_leak": no_leak,
    "bare_log": bare_log,
    "empty": empty,
    "hostile": hostile,
}
"""Those with a golden; `huge` is made on its own."""
