"""Which functions name a site and which never do."""

from __future__ import annotations

import pytest

from heaptrail.model.report import Frame
from heaptrail.symbols.wrappers import name_site, plain_name, wrapper_kind


@pytest.mark.parametrize(
    "function",
    [
        *("malloc", "_malloc_r", "__wrap_malloc", "__real_calloc", "strdup", "__libc_malloc", "posix_memalign"),
        *("pvPortMalloc", "pvPortCalloc", "pvPortReAlloc", "pvPortMalloc.isra.0", "pvPortCalloc.constprop.0.cold"),
        *("heap_caps_malloc", "heap_caps_malloc_default", "heap_caps_calloc_base", "multi_heap_aligned_alloc"),
        *("k_malloc", "sys_heap_aligned_alloc", "k_heap_alloc", "z_thread_aligned_alloc", "rt_malloc", "rt_smem_alloc"),
        *(
            "kmm_zalloc",
            "umm_malloc",
            "mm_malloc",
            "_tx_byte_allocate",
            "tx_byte_allocate",
            "LOS_MemAlloc",
            "aos_malloc",
        ),
        *("operator new(unsigned long)", "operator new[]", "_Znwm", "_Znaj", "_ZnwmRKSt9nothrow_t"),
        *("std::__new_allocator<int>::allocate", "__gnu_cxx::new_allocator<char>::allocate"),
        *("_ZNSt15__new_allocatorIiE8allocateEmPKv", "std::vector<int, std::allocator<int> >::push_back"),
        *("ht_on_malloc", "ht_port_backtrace", "memleak_malloc_hook"),
    ],
)
def test_allocators_are_known_on_every_rtos(function: str) -> None:
    assert wrapper_kind(function) == "allocator"


@pytest.mark.parametrize(
    "function", ["xQueueGenericCreate", "xTaskCreatePinnedToCore", "xEventGroupCreate", "osThreadNew"]
)
def test_makers_of_kernel_objects_are_a_second_kind(function: str) -> None:
    assert wrapper_kind(function) == "creator"


@pytest.mark.parametrize(
    "function",
    [
        *(
            "softvol_ap_update_mode",
            "_AudioTrackStart",
            "cJSON_Parse",
            "cJSON_New_Item",
            "main",
            "mallocate_everything",
        ),
        *("xQueueReceive", "vTaskDelay", "player::Mixer::add", "stdio_init", "my_malloc", "MALLOC", "ht_insert", ""),
        None,
    ],
)
def test_code_that_may_be_the_cause_is_not_hidden(function: str) -> None:
    assert wrapper_kind(function) is None


def test_users_add_patterns_and_their_case_matters() -> None:
    assert wrapper_kind("my_malloc_dbg", ("my_*",)) == "allocator"
    assert wrapper_kind("MY_malloc", ("my_*",)) is None


def test_compiler_suffixes_come_off_and_nothing_else() -> None:
    names = {
        "f.isra.0": "f",
        "f.constprop.12.isra.3": "f",
        "f.part.0.cold": "f",
        "f.lto_priv.0": "f",
        "f.llvm.1234567890abcdef": "f",
        "operator.": "operator.",
        "version.1": "version.1",
    }
    assert {name: plain_name(name) for name in names} == names


def _stack(*functions: str | None) -> list[Frame]:
    return [Frame(pc=index, kind="call", function=function) for index, function in enumerate(functions)]


def test_a_site_is_named_by_the_first_frame_outside_allocators() -> None:
    assert name_site(_stack("pvPortMalloc", "pvPortCalloc", "softvol_ap_update_mode", "_AudioTrackStart")) == 2
    assert name_site(_stack("pvPortMalloc", "xQueueGenericCreate", "player_open")) == 2
    assert name_site(_stack("player_open")) == 0


def test_a_stack_of_allocators_alone_names_nothing() -> None:
    assert name_site(_stack("pvPortMalloc", "pvPortCalloc")) is None
    assert name_site([]) is None


def test_an_unknown_frame_in_between_is_not_skipped_to_accuse_its_caller() -> None:
    assert name_site(_stack("pvPortMalloc", None, "player_loop")) is None
    assert name_site(_stack(None, None)) is None


def test_unknown_frames_within_the_allocator_do_not_hide_the_caller() -> None:
    assert name_site(_stack(None, "pvPortMalloc", "player_loop")) == 2


def test_frames_that_were_marked_as_wrappers_are_skipped_whatever_their_name() -> None:
    frames = [Frame(pc=0, kind="call", function="my_alloc", wrapper=True), *_stack("player_loop")]
    assert name_site(frames) == 1
