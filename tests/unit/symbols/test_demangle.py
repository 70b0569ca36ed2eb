"""C++ names, against c++filt."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heaptrail.symbols.demangle import demangle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("pvPortMalloc", "pvPortMalloc"),
        ("_ZN2ns1W3getEi", "ns::W::get"),
        ("_ZNK6player5Mixer3mixEv", "player::Mixer::mix"),
        ("_ZN2ns1W2mkIlEEPT_S2_", "ns::W::mk<long>"),
        ("_ZN6player5MixerC2ERKS0_", "player::Mixer::Mixer"),
        ("_ZN6player5MixerD0Ev", "player::Mixer::~Mixer"),
        ("_Znwm", "operator new"),
        ("_ZN12_GLOBAL__N_14openEv", "(anonymous namespace)::open"),
        ("_ZZN6player4openEvENKUliE_clEi", "player::open::{lambda(int)#1}::operator()"),
        ("_Z3runPFvPKcE", "run"),
        ("_Z4eachIPFvPKcEEvT_", "each<void (*)(char const*)>"),
        ("_ZN2ns1W3getEi.isra.0", "ns::W::get.isra.0"),
    ],
)
def test_names_are_those_of_the_source_without_parameters(symbol: str, name: str) -> None:
    assert demangle(symbol) == name


PROGRAM = r"""
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>
template <class T, int N> struct Ring { T items[N]; void put(const T &item) { items[0] = item; } };
int main(int count, char **names) {
    std::map<std::string, std::vector<std::shared_ptr<Ring<long, 4>>>> rings;
    std::set<std::pair<int, const char *>> seen;
    std::function<int(int, char **)> f = [&](int a, char **) { return a + (int)seen.size(); };
    for (int i = 0; i < count; i++) rings[names[i]].push_back(std::make_shared<Ring<long, 4>>());
    for (auto &entry : rings) for (auto &ring : entry.second) ring->put(f(count, names));
    seen.insert({count, "x"});
    std::vector<std::string> sorted;
    for (auto &entry : rings) sorted.push_back(entry.first);
    std::sort(sorted.begin(), sorted.end(), [](const std::string &a, const std::string &b) { return a > b; });
    std::printf("%zu\n", sorted.size());
}
"""


def test_the_standard_librarys_names_agree_with_cplusplusfilt(compile_program: Callable[..., Path]) -> None:
    elf = compile_program(PROGRAM, "-O0", suffix=".cc")
    nm = subprocess.run(["nm", "-P", elf], check=True, capture_output=True, text=True).stdout
    symbols = [line.split()[0] for line in nm.splitlines() if line.startswith("_Z") and line.split()[1] in "TtWw"]
    printed = subprocess.run(["c++filt", "-p"], input="\n".join(symbols), check=True, capture_output=True, text=True)
    expected = dict(zip(symbols, printed.stdout.splitlines(), strict=True))
    assert len(symbols) > 300
    read = {symbol: name for symbol in symbols if (name := demangle(symbol)) != symbol}
    assert len(read) > 0.97 * len(symbols), "the rest stays mangled"
    # Left out: names inside another function (Z), whose parameters c++filt prints even with -p. We never do.
    comparable = {symbol for symbol in read if "Z" not in symbol[2:]}
    assert len(comparable) > 250
    wrong = {
        symbol: (read[symbol], expected[symbol])
        for symbol in comparable
        if _spaced(read[symbol]) != _spaced(expected[symbol])
    }
    assert not wrong


def _spaced(name: str) -> str:
    """Without the blank that c++filt puts between some closing brackets and not between others."""
    return name.replace("> >", ">>").replace("> >", ">>")


@given(st.text("_ZNSIEKPRTLJXDFAabcdilmstvw0123456789", max_size=60))
def test_anything_comes_back_as_some_name(rest: str) -> None:
    assert demangle("_Z" + rest)


def test_a_name_that_doubles_with_every_letter_stays_mangled_and_costs_nothing() -> None:
    bomb = "_Z1f" + "I1aE" + "".join(f"SI{'S_' * 2}E" for _ in range(200))
    deep = "_Z" + "N1aI" * 1000
    started = time.process_time()
    assert demangle(deep) == deep
    assert len(demangle(bomb)) < 10_000
    assert time.process_time() - started < 1
