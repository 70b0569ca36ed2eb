"""heaptrail: follow a heap leak in RTOS firmware from a falling `free` to the line of code that causes it."""

__version__ = "0.1.0"
