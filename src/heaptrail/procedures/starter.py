"""The commented workload file that `heaptrail init` writes; `workload` says what each key means."""

from __future__ import annotations


def starter_file() -> str:
    """The commented file that `heaptrail init` writes. Every key stands in it, with its default where it has one."""
    return _STARTER


_STARTER = r"""# What heaptrail does on your device. Relative paths refer to this file's folder.
# Single quotes keep a backslash as it is, so use them for regular expressions.

[target]
# A serial port, socket://host:port, rfc2217://host:port, exec:./program arguments, or replay:file.cast.
console = "/dev/ttyUSB0"
baud = 115200
# The image with debug information, of the very build that runs. Without it, addresses stay addresses.
# elf = "build/firmware.elf"
# Which RTOS's console this is: a name from `heaptrail list dialects`, or auto, which looks at the prompt and, where
# that does not tell, at the answer to help.
dialect = "auto"
# The whole prompt as a regular expression. Left out, it is what the console shows after Enter.
# prompt = 'c906>'
# What Enter sends: cr, lf or crlf.
newline = "cr"
# A pause after each character, for consoles that lose them (0.005 helps most).
char_delay_s = 0.0
# How long the prompt may take, for instance while the device boots.
answer_timeout_s = 10.0
# Your own functions that only pass on to an allocator; they never name a site.
wrappers = []
# Folders as the ELF names them, and where those sources are on this machine.
# source_map = { "/build/server/project" = "../project" }
# Commands of your firmware's own, instead of the dialect's: read the heap, record, list and go on, list and stop.
# commands = { sample = "heap", arm = "trace start", peek = "trace dump", collect = "trace stop" }
# Heap lines of your firmware's own: a pattern with named groups, or the columns of a table (- says nothing here).
# regex = { pattern = 'free: (?P<free>\d+) \(lowest (?P<min_free>\d+)' }
# csv = { columns = ["t_s", "free", "-", "min_free"] }
# A gdb server on the same device (OpenOCD, J-Link, pyOCD): the hunt's findings are then confirmed by a RAM image.
# gdb = "localhost:3333"

[workload]
# The steps and the mark below are an audio player's, as an example: put your own in their place.
# Steps: send (Enter follows, unless enter = false), then expect a regular expression for at most timeout_s,
# then sleep_s. Control-C is send = "\u0003", enter = false.
start = [
    { send = "rtplayer_test /data/boot.mp3", expect = 'playing', timeout_s = 10.0 },
    { send = "l" },
    { send = "b" },
]
# One round, where the device does not go round by itself:
# cycle = [ { send = "connect", expect = 'connected' }, { send = "disconnect", sleep_s = 1.0 } ]
cycle = []
stop = [
    { send = "rtpc q", sleep_s = 1.0 },
]
# The firmware's own line that ends a round, and the one that follows a reset.
cycle_mark = 'playback round \d+ complete'
# boot_mark = '\*\*\* .* boot'
# Rounds until the caches are full, rounds with the tracer off (how fast is it?), rounds with it on (where is it?).
warmup_cycles = 5
measured_cycles = 15
traced_cycles = 15
# Rounds between two readings of free, and how long one round may take.
sample_every_cycles = 1
cycle_timeout_s = 600.0

[judge]
# A loss below this many bytes a round is none. Left out: a heap that outlives 3,000 rounds is good enough.
# tolerate_bytes_per_cycle = 16
# The same where a log tells no rounds but the time. Left out: a heap that outlives 30 days is good enough.
# tolerate_bytes_per_hour = 100
confidence = 0.99
# The largest block that one rare event may lose; every claim of no leak is only as good as this.
largest_single_loss_bytes = 256
# The request whose first failure is foretold where the largest free block shrinks. Left out: the largest live block.
# largest_request_bytes = 4096
# A cache or pool with a bound: what fits this pattern (a function, file or address of the backtrace) may hold so much.
# capacity = [ { site = "dns_cache_*", max_blocks = 32 }, { site = "log_ring.c", max_bytes = 8192 } ]

[ram]
# What a RAM image cannot tell by itself. Where the heap is, by variable or 0xSTART+0xSIZE, and its layout.
# heap = "ucHeap"
# layout = "heap_4"
# Variables or 0xSTART+0xSIZE that hold pointers at any byte (a packed struct), or that would not be looked at.
roots = []
# Variables (* for any letters) or 0xSTART+0xSIZE that hold none, such as a tracer's table.
exclude = []
# Blocks that are in use though nothing shows it, as "0x20001000".
keep = []

[report]
# Files to write, each in the format of its suffix (`heaptrail list reports`).
outputs = ["report.html", "report.json"]
"""
