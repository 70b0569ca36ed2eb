"""The agent's C tests, compiled on this host under the sanitizers, and what its configuration refuses."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from heaptrail.wire import decode

HERE = Path(__file__).resolve().parent
AGENT = HERE.parents[1] / "agent"
WARNINGS = ("-Wall", "-Wextra", "-Wshadow", "-Wconversion", "-Wno-sign-conversion", "-Werror")
INCLUDE = (f"-I{AGENT / 'include'}", f"-I{AGENT / 'port' / 'posix'}")
CORE = tuple(sorted((AGENT / "src").glob("*.c")))
SOURCES = (*CORE, AGENT / "port" / "posix" / "ht_port_posix.c")
MEMORY = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
THREADS = ("-fsanitize=thread",)


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run to the end; the caller judges the exit status. The deadline is for a lock that is never given back."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


def compiler() -> str:
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        pytest.skip("needs a C compiler (apt-get install gcc)")
    return found


def named(source: str) -> list[str]:
    """The tests that a C file holds, so that each is one of pytest's."""
    return re.findall(r"^ +TEST\((\w+)\),$", (HERE / source).read_text(encoding="utf-8"), re.MULTILINE)


def build(target: Path, *arguments: str | Path) -> Path:
    flags = ("-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-pie", "-no-pie", "-pthread")
    built = run(compiler(), *flags, *WARNINGS, *INCLUDE, *arguments, "-o", target)
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module", params=["-O1", "-Os"], ids=["fast", "small"])
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where size is asked for, the usual cases have no code of their own (HT_FAST)."""
    return build(tmp_path_factory.mktemp("core") / "core", request.param, *MEMORY, HERE / "core.c")


@pytest.fixture(scope="module", params=[MEMORY, THREADS], ids=["memory", "threads"])
def posix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("posix") / "posix", *request.param, HERE / "posix.c", *SOURCES)


@pytest.mark.sanitizer
@pytest.mark.parametrize("name", named("core.c"))
def test_core(core: Path, name: str) -> None:
    ended = run(core, name)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.sanitizer
@pytest.mark.parametrize("name", [name for name in named("posix.c") if not name.startswith("chain_")])
def test_posix_port(posix: Path, name: str) -> None:
    ended = run(posix, name)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, "a sanitizer spoke"


@pytest.mark.sanitizer
@pytest.mark.parametrize("sanitizer", [MEMORY, THREADS], ids=["memory", "threads"])
def test_many_threads_share_one_stream_and_no_event_is_torn(tmp_path: Path, sanitizer: tuple[str, ...]) -> None:
    program = build(tmp_path / "posix", *sanitizer, "-DHT_STREAM=1", HERE / "posix.c", *SOURCES)
    ended = subprocess.run([program, "stream_of_many_threads"], capture_output=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")

    stream = decode(ended.stdout + b"\0")

    said = dict(word.split(b"=") for word in ended.stdout.rpartition(b"heaptrail: stream off ")[2].split())
    assert stream.counts.damaged_frames == stream.counts.restarts == 0
    assert stream.counts.frames == int(said[b"frames"])
    assert len(stream.events) + stream.counts.lost_events == int(said[b"events"]) == 4 * (100 * 33 + 1)
    assert stream.counts.lost_events == int(said[b"dropped"])


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """No sanitizer: they bring a malloc of their own."""
    wrap = AGENT / "port" / "wrap"
    target = tmp_path_factory.mktemp("wrapped") / "wrapped"
    sources = (HERE / "wrapped.c", wrap / "ht_wrap.c", *SOURCES)
    return build(target, "-fno-builtin", f"@{wrap / 'ht_wrap.opts'}", *sources)


@pytest.mark.sanitizer
@pytest.mark.parametrize("name", named("wrapped.c"))
def test_the_linker_brings_every_call_to_the_hooks(wrapped: Path, name: str) -> None:
    ended = run(wrapped, name)
    assert ended.returncode == 0, ended.stderr


@pytest.fixture(scope="module", params=[False, True], ids=["library-forms", "all-forms"])
def wrapped_cxx(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A C++ program with a heap of its own, linked as firmware is: with the C++ library inside."""
    cxx = shutil.which("g++") or skipped("needs a C++ compiler (apt-get install g++)")
    folder, wrap = tmp_path_factory.mktemp("wrapped_cxx"), AGENT / "port" / "wrap"
    every = ("-DHT_NEW_DEFINES_ALL_FORMS=1",) if request.param else ()
    flags = ("-g", "-O1", "-fno-omit-frame-pointer", "-fno-pie")
    objects = []
    for source in (*SOURCES, wrap / "ht_wrap_cxx.c"):
        objects.append(folder / f"{source.stem}.o")
        built = run(
            compiler(),
            "-std=c11",
            *flags,
            *every,
            "-DHT_NEW_HAS_ITS_OWN_HEAP=1",
            *INCLUDE,
            "-c",
            source,
            "-o",
            objects[-1],
        )
        assert built.returncode == 0, built.stderr
    options = wrap / ("ht_wrap_cxx_all.opts" if request.param else "ht_wrap_cxx.opts")
    forms = f"-DALL_FORMS={int(request.param)}"
    ours = (HERE / "wrapped_cxx.cpp", HERE / "own_heap.cpp")
    link = ("-no-pie", "-pthread", "-static-libstdc++", f"@{options}")
    built = run(
        cxx, "-std=c++17", *flags, forms, *INCLUDE, f"-I{HERE}", *ours, *objects, *link, "-o", folder / "program"
    )
    assert built.returncode == 0, built.stderr
    return folder / "program"


def skipped(reason: str) -> str:
    pytest.skip(reason)


@pytest.mark.sanitizer
@pytest.mark.parametrize("name", named("wrapped_cxx.cpp"))
def test_the_linker_brings_every_new_and_delete_to_the_hooks(wrapped_cxx: Path, name: str) -> None:
    ended = run(wrapped_cxx, name)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.sanitizer
@pytest.mark.parametrize("name", ["chain_of_main", "chain_of_a_thread"])
def test_a_backtrace_is_the_chain_of_calls_innermost_first(posix: Path, name: str) -> None:
    if shutil.which("addr2line") is None:
        pytest.skip("needs addr2line (apt-get install binutils)")
    addresses = run(posix, name).stdout.split()
    resolved = run("addr2line", "-fse", posix, *addresses).stdout.splitlines()
    assert resolved[0::2] == ["my_malloc", "inner", "outer", "print_chain", "attached"]
    # Call addresses: each names the line of the call itself, not the one after it.
    lines = (HERE / "posix.c").read_text(encoding="utf-8").splitlines()
    called = [lines[int(place.split(":")[1].split()[0]) - 1].strip() for place in resolved[1::2]]
    assert called == [
        "ht_on_malloc(block, 64, 80);",
        "my_malloc(block);",
        "inner(block);",
        "outer(block);",
        "print_chain(unused);",
    ]


REFUSED = {  # a contradiction, and the beginning of what stops the compiler
    ("HT_RECORDS=1",): "HT_RECORDS must be 8..1000000",
    ("HT_SITES=1",): "HT_SITES must be 4..65000",
    ("HT_STACKS=9",): "HT_STACKS must be HT_SITES - 2..65000",
    ("HT_DEPTH=33",): "HT_DEPTH must be 0..32",
    ("HT_FRAMES=2",): "HT_FRAMES must hold at least one stack",
    ("HT_THREADS=300",): "HT_THREADS must be 1..250",
    ("HT_NAME_BYTES=3",): "HT_NAME_BYTES must be 4..64",
    ("HT_FILTERS=0",): "HT_FILTERS must be 1..32",
    ("HT_FREED=100",): "HT_FREED must be a power of two",
    ("HT_REPORTS=0",): "HT_REPORTS must be 1..250",
    ("HT_DEPTH=0", "CONFIG_HT_FREE_STACKS"): "HT_DEPTH is 0, so no site can know its freeing stack",
    ("HT_STREAM=1", "HT_STREAM_FRAMES=1"): "HT_STREAM_FRAMES must be 2..4096",
    ("HT_DUMPS=0",): "HT_DUMPS is 0 and so is HT_STREAM",
    ("HT_STREAM=1", "HT_WIRE_REPEAT=0"): "HT_WIRE_REPEAT must be 1 or more",
    ("HT_EXIDX=1",): "HT_EXIDX reads the unwind tables of Thumb code",
    ("HT_CPU_LOCK=1",): "ht_cpu.h knows RISC-V (machine mode) and Cortex-M",  # a host is neither
}


def errors(*folders: Path) -> list[str]:
    """Every message with which the agent's files stop the compiler."""
    files = [path for folder in folders for path in sorted(folder.rglob("*.[ch]"))]
    return [
        text for path in files for text in re.findall(r'#error "(.*)"$', path.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.sanitizer
@pytest.mark.parametrize("knobs", list(REFUSED), ids=" ".join)
def test_a_contradiction_stops_the_compiler_with_the_way_out(knobs: tuple[str, ...]) -> None:
    defines = [f"-D{knob}" for knob in knobs]
    sources = (AGENT / "src" / "ht_agent.c", AGENT / "src" / "ht_exidx.c")
    built = run(compiler(), *defines, *INCLUDE, "-fsyntax-only", *sources)

    assert built.returncode != 0
    said = [text for text in errors(AGENT / "include", AGENT / "src") if text in built.stderr]
    assert any(text.startswith(REFUSED[knobs]) for text in said)
    assert all(re.search(r": | set | raise | switch ", text) for text in said), "what is wrong, and not what to do"


def test_every_refusal_of_the_core_is_tested() -> None:
    said = errors(AGENT / "include", AGENT / "src")

    assert len(said) == len(REFUSED)
    assert all(any(text.startswith(begins) for begins in REFUSED.values()) for text in said)


@pytest.mark.sanitizer
@pytest.mark.parametrize(
    "knobs",
    [
        ("HT_DEPTH=0",),
        ("HT_DEPTH=1",),
        ("HT_CHECK_DOUBLE_FREE=0", "HT_CHECK_FREE_NULL=0"),
        ("HT_FREE_STACKS=0",),
        ('HT_EOL="\\r\\n"',),
        ("HT_STREAM=1",),
        ("HT_STREAM=1", "HT_DUMPS=0"),
        ("HT_BLOCK_SIZES=1",),
    ],
)
def test_each_configuration_compiles_without_a_warning(tmp_path: Path, knobs: tuple[str, ...]) -> None:
    for source in (*SOURCES, AGENT / "port" / "template" / "ht_port_template.c"):
        defines = [f"-D{knob}" for knob in knobs]
        built = run(compiler(), "-std=c11", "-O2", *WARNINGS, *defines, *INCLUDE, "-c", source, "-o", tmp_path / "a.o")
        assert built.returncode == 0, built.stderr


@pytest.mark.sanitizer
def test_the_core_compiles_for_a_32_bit_target_with_records_of_16_bytes(tmp_path: Path) -> None:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("needs clang (apt-get install clang): it compiles for any target")
    # The compiler's own headers are enough but for string.h; the record's size is a static assertion in the source.
    (tmp_path / "string.h").write_text(
        "#include <stddef.h>\n"
        "void *memcpy(void *, const void *, size_t); void *memset(void *, int, size_t);\n"
        "int memcmp(const void *, const void *, size_t); int strcmp(const char *, const char *);\n"
        "int strncmp(const char *, const char *, size_t); size_t strlen(const char *);\n",
        encoding="utf-8",
    )
    for target in ("thumbv7m-none-eabi", "riscv32-unknown-elf", "riscv64-unknown-elf"):
        for source in (*CORE, AGENT / "port" / "template" / "ht_port_template.c"):
            command = (clang, f"--target={target}", "-ffreestanding", "-std=c11", "-Wall", "-Werror", "-fsyntax-only")
            built = run(*command, f"-I{tmp_path}", *INCLUDE, source)
            assert built.returncode == 0, built.stderr


def test_a_c_file_is_short() -> None:
    lines = {path.name: path.read_text(encoding="utf-8").count("\n") for path in AGENT.rglob("*.[ch]")}
    assert {name: count for name, count in lines.items() if count >= 400} == {}


def test_no_hook_allocates_or_prints() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert not re.search(r"\b(malloc|calloc|free|printf|snprintf|puts|fwrite)\s*\(", text)
