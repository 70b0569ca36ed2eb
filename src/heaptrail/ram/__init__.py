"""From RAM images to the blocks that nothing points to, without a tracer in the firmware.

`firmware` is the ELF's side: symbols of variables, sections, struct offsets. `images` and `gdb` bring memory and
registers, `heaps` walks the blocks, `kernels` finds tasks and the live part of their stacks, `reach` marks what can be
reached, `survey` puts these together for one moment, and `verdict` says what it means. Nothing here knows a console.

A heap layout or a kernel is one file with a class, and one line in `HEAPS` or `KERNELS`.
"""

from __future__ import annotations

HEAPS: dict[str, str] = {
    "heap_4": "heaptrail.ram.heaps.heap_4:Heap4",
    "heap_5": "heaptrail.ram.heaps.heap_5:Heap5",
    "heap_2": "heaptrail.ram.heaps.heap_2:Heap2",
    "heap_1": "heaptrail.ram.heaps.heap_1:Heap1",
    "esp_idf": "heaptrail.ram.heaps.esp_idf:EspIdfHeap",
    "nuttx": "heaptrail.ram.heaps.nuttx:NuttxHeap",
    "zephyr": "heaptrail.ram.heaps.zephyr:ZephyrHeap",
    "tlsf": "heaptrail.ram.heaps.tlsf:Tlsf",
}
"""Layouts by name, in the order in which they are tried."""

KERNELS: dict[str, str] = {
    "freertos": "heaptrail.ram.kernels.freertos:FreeRtosKernel",
    "nuttx": "heaptrail.ram.kernels.nuttx:NuttxKernel",
    "zephyr": "heaptrail.ram.kernels.zephyr:ZephyrKernel",
}
"""Kernels by name, in the order in which they are tried."""
