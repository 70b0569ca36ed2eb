"""Which functions never name an allocation site: allocators, their wrappers, and makers of kernel objects.

The first frame outside them is the code that asked for the memory. Names come from the allocators' public headers
(FreeRTOS, ESP-IDF, Zephyr, RT-Thread, NuttX, ThreadX, LiteOS, AliOS Things, umm_malloc, C and C++ libraries). Compiler
suffixes (`.isra.0`) and linker wraps (`__wrap_`) are taken off first. Users add patterns of their own.
"""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from heaptrail.model.report import Frame

WrapperKind = Literal["allocator", "creator"]

ALLOCATORS: tuple[str, ...] = (
    # C library and its reentrant twins, with the linker's and glibc's spellings
    *(
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "memalign",
        "aligned_alloc",
        "posix_memalign",
        "valloc",
        "pvalloc",
    ),
    *("strdup", "strndup", "wcsdup", "asprintf", "vasprintf"),
    *("_malloc_r", "_calloc_r", "_realloc_r", "_memalign_r", "_strdup_r", "_strndup_r", "_asprintf_r", "_vasprintf_r"),
    *("__libc_malloc", "__libc_calloc", "__libc_realloc", "__libc_memalign", "__strdup", "__strndup"),
    # FreeRTOS, with the wrappers that its ports and vendors put around it
    *("pvPort*alloc*", "pvPort*Alloc*", "vPortFree*", "vPortMalloc*", "pvTaskMalloc", "pvPortMemAlign*"),
    *("amp_malloc", "amp_calloc", "hal_malloc", "dma_malloc", "hal_*_dma_coherent", "dma_alloc_coherent"),
    # ESP-IDF
    *("heap_caps_*alloc*", "heap_caps_base_*", "heap_caps_aligned_*", "heap_caps_match*", "multi_heap_*"),
    *(
        "trace_malloc",
        "trace_calloc",
        "trace_realloc",
        "esp_heap_trace_*",
        "tlsf_*",
        "pvalloc",
        "wifi_malloc",
        "wifi_calloc",
    ),
    # Zephyr
    *("k_malloc", "k_calloc", "k_realloc", "k_aligned_alloc", "k_heap_*alloc", "sys_heap_*", "k_mem_slab_alloc"),
    *("z_thread_aligned_alloc", "z_thread_malloc", "z_heap_*", "k_heap_aligned_alloc", "sys_multi_heap_*alloc"),
    # RT-Thread
    *("rt_malloc*", "rt_calloc", "rt_realloc", "rt_memheap_*alloc", "rt_smem_*alloc", "rt_mp_alloc", "rt_strdup"),
    # NuttX
    *("kmm_*alloc", "kmm_memalign", "kumm_*alloc", "umm_*alloc*", "umm_memalign", "mm_*alloc*", "mm_memalign"),
    *("group_malloc", "group_zalloc", "zalloc", "lib_*alloc"),
    # ThreadX, LiteOS, AliOS Things, others
    *("tx_byte_allocate", "_tx_byte_allocate", "_txe_byte_allocate", "tx_block_allocate", "_tx_block_allocate"),
    *(
        "_txe_block_allocate",
        "LOS_Mem*",
        "OsMem*",
        "LOS_KernelMalloc",
        "aos_malloc",
        "aos_calloc",
        "aos_zalloc",
        "aos_realloc",
    ),
    *("krhino_mm_*alloc", "k_mm_*alloc", "mem_malloc", "mem_calloc", "memp_malloc", "memp_malloc_fn"),
    # C++, mangled and demangled
    *("operator new*", "_Zn[wa]*", "__cxa_allocate_*", "__gnu_cxx::*", "std::*"),
    *("_ZNSt*", "_ZNKSt*", "_ZSt*", "_ZNSa*", "_ZNSs*", "_ZNKSs*", "_ZN9__gnu_cxx*", "_ZNK9__gnu_cxx*"),
    # The tracer itself: heaptrail's agent and the case's
    *("ht_on_*", "ht_port_*", "ht_call_address", "memleak_*"),
)
"""Functions that hand out memory, or hand on a request for it."""

CREATORS: tuple[str, ...] = (
    *("xQueue*Create*", "xQueueCreate*", "xSemaphoreCreate*", "vSemaphoreCreate*", "xTaskCreate*", "xTimerCreate*"),
    *("xEventGroupCreate*", "xStreamBufferGenericCreate*", "xStreamBufferCreate*", "xMessageBufferCreate*"),
    *("xRingbufferCreate*", "prvCreateTask", "prvCreateStaticTask", "pthread_create", "pthread_mutex_init", "sem_init"),
    *("osThreadNew", "osThreadCreate", "osMutexNew", "osMutexCreate", "osSemaphoreNew", "osSemaphoreCreate"),
    *("osMessageQueueNew", "osMessageCreate", "osTimerNew", "osTimerCreate", "osEventFlagsNew", "osMemoryPoolNew"),
    *("rt_thread_create", "rt_sem_create", "rt_mutex_create", "rt_event_create", "rt_mq_create", "rt_mb_create"),
    *("rt_timer_create", "rt_object_allocate", "LOS_TaskCreate*", "LOS_QueueCreate", "aos_task_new*", "aos_queue_new"),
    *("k_thread_stack_alloc", "k_msgq_alloc_init", "k_queue_alloc_*", "k_stack_alloc_init", "k_object_alloc"),
)
"""Functions that make a kernel object: their caller is the one who must delete it."""

_SUFFIX = re.compile(r"(?:\.(?:isra|constprop|part|cold|lto_priv|llvm|clone|localalias|str)(?:\.?[0-9a-f]+)*)+$")
_LINKER = ("__wrap_", "__real_")


def plain_name(function: str) -> str:
    """The name as the source has it: without `.isra.0`, `.constprop.1`, `.part.2`, `.cold` and their kind."""
    return _SUFFIX.sub("", function)


def wrapper_kind(function: str | None, extra: Sequence[str] = ()) -> WrapperKind | None:
    """What makes `function` no name for a site, or None for a function that may name one.

    Args:
        function: As the symbols give it, mangled or not; None (unknown) is never a wrapper.
        extra: The user's patterns (`*`, `?`, `[ab]`; case matters), counted as allocators.
    """
    return None if function is None else _kind(function, tuple(extra))


def name_site(frames: Sequence[Frame], extra: Sequence[str] = ()) -> int | None:
    """The index of the frame that names the site: the first outside allocators, wrappers and creators.

    None where there is none, or where a frame without a function lies before it: that may be the culprit, and the
    next known one must not be accused in its place. Unknown frames within an allocator's are the allocator's own.
    """
    unknown = False
    for index, frame in enumerate(frames):
        if frame.function is None:
            unknown = True
        elif frame.wrapper or wrapper_kind(frame.function, extra) is not None:
            unknown = False
        else:
            return None if unknown else index
    return None


@lru_cache(maxsize=16_384)
def _kind(function: str, extra: tuple[str, ...]) -> WrapperKind | None:
    name = plain_name(function)
    for prefix in _LINKER:
        name = name.removeprefix(prefix)
    if _matches(name, ALLOCATORS) or (extra and _matches(name, extra)):
        return "allocator"
    return "creator" if _matches(name, CREATORS) else None


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    exact, prefixes, pattern = _sorted(patterns)
    return name in exact or name.startswith(prefixes) or (pattern is not None and pattern.match(name) is not None)


@lru_cache(maxsize=64)
def _sorted(patterns: tuple[str, ...]) -> tuple[frozenset[str], tuple[str, ...], re.Pattern[str] | None]:
    """Whole names, beginnings, and the rest as one expression: to compile them all would cost a start 10 ms."""
    exact: list[str] = []
    prefixes: list[str] = []
    rest: list[str] = []
    for pattern in patterns:
        stem = pattern.removesuffix("*")
        if any(letter in stem for letter in "*?["):
            rest.append(f"(?:{translate(pattern)})")
        else:
            (exact if stem == pattern else prefixes).append(stem)
    return frozenset(exact), tuple(prefixes), re.compile("|".join(rest), re.DOTALL) if rest else None
