"""C++ symbols to the names that the source has, without parameters: `_ZN2ns1W3getEi` to `ns::W::get`.

Covers the part of the Itanium C++ ABI's mangling (section 5.1) that names functions: nested and local names, templates
and their arguments, constructors, operators, substitutions. A symbol with anything else in it (expressions,
decltype) stays as it is: a mangled name is true, a half-read one is not. Bounded in depth and in length, since
substitutions can double a name with every letter.
"""

from __future__ import annotations

from functools import lru_cache

from heaptrail.symbols.mangling import BUILTINS, D_BUILTINS, LITERAL_SUFFIX, OPERATORS, STANDARD, STREAMS

_MAX_MANGLED = 4_096
_MAX_NAME = 4_096
_MAX_DEPTH = 64


class _Unknown(Exception):  # noqa: N818 - it is not an error: the name stays mangled
    """The symbol holds something that is not read here."""


@lru_cache(maxsize=16_384)
def demangle(symbol: str) -> str:
    """The source's name of a C++ function without its parameters; anything else comes back as it is.

    What follows a dot (`.isra.0`) is kept at the end.
    """
    if not symbol.startswith("_Z") or len(symbol) > _MAX_MANGLED:
        return symbol
    mangled, dot, suffix = symbol.partition(".")
    try:
        name = _Parser(mangled).symbol()
    except (_Unknown, IndexError, RecursionError):
        return symbol
    return name + dot + suffix


class _Parser:
    """Reads one symbol from left to right; methods are named after the ABI's productions."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 2
        self._depth = 0
        self._substitutions: list[str] = []
        self._arguments: list[str] = []

    def symbol(self) -> str:
        return self._encoding_name()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _peek(self, count: int = 1) -> str:
        return self._text[self._at : self._at + count]

    def _take(self, expected: str) -> bool:
        if self._text.startswith(expected, self._at):
            self._at += len(expected)
            return True
        return False

    def _need(self, expected: str) -> None:
        if not self._take(expected):
            raise _Unknown

    def _digits(self) -> str:
        start = self._at
        while self._peek().isdecimal() and self._peek().isascii():
            self._at += 1
        return self._text[start : self._at]

    def _checked(self, name: str) -> str:
        if len(name) > _MAX_NAME:
            raise _Unknown
        return name

    def _remember(self, name: str) -> str:
        self._substitutions.append(self._checked(name))
        return name

    # -- names --------------------------------------------------------------------------------------------------------

    def _encoding_name(self) -> str:
        """<encoding>, of which only the <name> is read."""
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Unknown
        if self._peek() == "N":
            name = self._nested()
        elif self._peek() == "Z":
            name = self._local()
        else:
            name = self._unscoped()
        self._depth -= 1
        return self._checked(name)

    def _unscoped(self) -> str:
        if self._peek(2) in ("Sa", "Sb", "Ss", "Si", "So", "Sd") or (self._peek() == "S" and self._peek(2) != "St"):
            name = self._substitution()
            if self._peek() != "I":
                raise _Unknown  # a substitution alone is a type, not a function
            return name + self._template_arguments()
        prefix = "std::" if self._take("St") else ""
        name = prefix + self._unqualified("")
        if self._peek() == "I":
            self._remember(name)
            name += self._template_arguments()
        return name

    def _nested(self) -> str:
        self._need("N")
        while self._peek() in ("r", "V", "K"):
            self._at += 1
        _ = self._take("R") or self._take("O")
        name = ""
        while not self._take("E"):
            name = self._prefix(name)
        if not name:
            raise _Unknown
        return name

    def _prefix(self, name: str) -> str:
        """One more part of a nested name; every prefix but the whole is a substitution."""
        head = self._peek()
        if head == "S" and self._peek(2) == "St":
            self._at += 2
            return "std"
        if head == "S":
            return self._substitution()
        if head == "I":
            name += self._template_arguments()
        elif head == "T":
            name = self._template_parameter()
        elif head == "" or self._peek(2) in ("Dt", "DT"):
            raise _Unknown
        else:
            part = self._unqualified(name)
            name = f"{name}::{part}" if name else part
        while self._peek() == "B":
            name += self._tag()
        if self._peek() != "E":
            self._remember(name)
        return self._checked(name)

    def _local(self) -> str:
        """Z <function encoding> E <entity name>: something inside a function."""
        self._need("Z")
        function = self._encoding_name()
        kept = self._arguments
        if self._peek() != "E":
            self._parameters()
        self._need("E")
        self._arguments = kept
        if self._peek() in ("s", "d"):  # a string literal, or something inside a default argument
            raise _Unknown
        entity = self._encoding_name()
        if self._take("_"):
            self._digits()
            self._take("_")
        return f"{function}::{entity}"

    def _parameters(self) -> None:
        while self._peek() not in ("E", ""):
            self._type()

    def _tag(self) -> str:
        self._need("B")
        return f"[abi:{self._source_name()}]"

    def _source_name(self) -> str:
        length = int(self._digits() or "0")
        name = self._peek(length)
        if not 0 < length <= len(name):
            raise _Unknown
        self._at += length
        return "(anonymous namespace)" if name.startswith("_GLOBAL__N") else name

    def _unqualified(self, scope: str) -> str:
        self._take("L")
        head = self._peek()
        if head.isdecimal():
            name = self._source_name()
            return name if self._peek() != "B" or scope else name + self._tag()
        pair = self._peek(2)
        if pair == "Ul":
            return self._lambda()
        self._at += 2
        if head in ("C", "D") and pair[1:].isdecimal():
            own = _last_part(scope)
            name = own if head == "C" else f"~{own}"
        elif pair == "CI":  # a constructor inherited from the class that follows
            self._at += 1
            name = _last_part(self._type())
        elif pair == "Ut":
            name = f"{{unnamed type#{self._sequence_number()}}}"
        else:
            name = self._operator(pair)
        return name

    def _operator(self, pair: str) -> str:
        if pair == "cv":
            return f"operator {self._type()}"
        if pair == "li":
            return f'operator"" {self._source_name()}'
        if pair not in OPERATORS:
            raise _Unknown
        return f"operator{OPERATORS[pair]}" + (" " if pair in ("ls", "lt") and self._peek() == "I" else "")

    def _lambda(self) -> str:
        self._need("Ul")
        parameters = []
        while not self._take("E"):
            parameters.append(self._type())
        shown = "" if parameters == ["void"] else ", ".join(parameters)
        return f"{{lambda({shown})#{self._sequence_number()}}}"

    def _sequence_number(self) -> int:
        digits = self._digits()
        self._need("_")
        return int(digits) + 2 if digits else 1

    def _substitution(self) -> str:
        self._need("S")
        if self._peek() in "absiod" and self._peek():
            self._at += 1
            name = STANDARD["S" + self._text[self._at - 1]]
            return name + self._tag() if self._peek() == "B" else name
        return self._numbered(self._substitutions, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")

    def _template_parameter(self) -> str:
        self._need("T")
        return self._numbered(self._arguments, "0123456789")

    def _numbered(self, known: list[str], alphabet: str) -> str:
        start = self._at
        while self._peek() and self._peek() in alphabet:
            self._at += 1
        digits = self._text[start : self._at]
        self._need("_")
        index = int(digits, len(alphabet)) + 1 if digits else 0
        if index >= len(known):
            raise _Unknown
        return known[index]

    # -- template arguments and types ---------------------------------------------------------------------------------

    def _template_arguments(self) -> str:
        self._need("I")
        arguments = self._argument_list()
        self._arguments = arguments
        shown = ", ".join(argument for argument in arguments if argument)
        return self._checked(f"<{shown}{' ' if shown.endswith('>') else ''}>")

    def _argument_list(self) -> list[str]:
        arguments = []
        while not self._take("E"):
            arguments.append(self._argument())
        return arguments

    def _argument(self) -> str:
        if self._peek() == "L":
            return self._literal()
        if self._take("J"):
            return ", ".join(part for part in self._argument_list() if part)
        if self._peek() == "X":
            raise _Unknown
        return self._type()

    def _literal(self) -> str:
        self._need("L")
        if self._peek(2) == "_Z":
            raise _Unknown
        kind = self._type()
        sign = "-" if self._take("n") else ""
        digits = self._digits()
        self._need("E")
        if kind == "bool" and digits in ("0", "1"):
            return "true" if digits == "1" else "false"
        if kind in LITERAL_SUFFIX:
            return f"{sign}{digits}{LITERAL_SUFFIX[kind]}"
        if kind in ("float", "double", "long double", "__float128"):
            raise _Unknown
        return f"({kind}){sign}{digits}"

    def _type(self) -> str:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Unknown
        name = self._checked(self._bare_type())
        self._depth -= 1
        return name

    def _bare_type(self) -> str:
        head = self._peek()
        if head in BUILTINS and head:
            self._at += 1
            return BUILTINS[head]
        if head in ("P", "R", "O"):
            self._at += 1
            return self._remember(_pointer_to(self._type(), {"P": "*", "R": "&", "O": "&&"}[head]))
        if head == "S" and self._peek(2) != "St":
            return self._with_arguments(self._substitution())
        if head == "D":
            return self._d_type()
        if head in ("r", "V", "K"):
            return self._qualified_type()
        return self._compound_type(head)

    def _compound_type(self, head: str) -> str:
        whole = {"F": self._function_type, "A": self._array_type, "N": self._nested, "Z": self._local}.get(head)
        if whole is not None:
            return self._remember(whole())
        if head == "T":
            name = self._template_parameter()
        elif head.isdecimal() or self._peek(2) == "St":
            prefix = "std::" if self._take("St") else ""
            name = prefix + self._unqualified("")
        else:
            raise _Unknown
        return self._with_arguments(self._remember(name))

    def _with_arguments(self, name: str) -> str:
        if self._peek() != "I":
            return name
        outer = self._arguments
        name = self._remember(name + self._template_arguments())
        self._arguments = outer
        return name

    def _qualified_type(self) -> str:
        words = []
        while self._peek() in ("r", "V", "K"):
            words.append({"r": "__restrict", "V": "volatile", "K": "const"}[self._peek()])
            self._at += 1
        if self._peek() == "F":
            raise _Unknown
        return self._remember(" ".join([self._type(), *reversed(words)]))

    def _function_type(self) -> str:
        self._need("F")
        self._take("Y")
        result = self._type()
        parameters = []
        while not self._take("E"):
            if self._peek() in ("R", "O") and self._peek(2)[1:] == "E":
                raise _Unknown
            parameters.append(self._type())
        shown = "" if parameters == ["void"] else ", ".join(parameters)
        return f"{result} ({shown})"

    def _array_type(self) -> str:
        self._need("A")
        size = self._digits()
        self._need("_")
        return f"{self._type()} [{size}]"

    def _d_type(self) -> str:
        pair = self._peek(2)
        if pair in D_BUILTINS:
            self._at += 2
            return D_BUILTINS[pair]
        if pair == "Dp":
            self._at += 2
            return self._remember(self._type())
        raise _Unknown


def _pointer_to(target: str, sign: str) -> str:
    """A pointer or reference; those to functions and arrays go inside: `void (*)(int)`. References collapse."""
    if target.endswith("&"):
        return target if sign != "*" and (sign == "&&" or not target.endswith("&&")) else _collapsed(target, sign)
    for opening in (" (", " ["):
        at = target.find(opening)
        if at >= 0 and target[-1] in ")]":
            if "(*" in target or "(&" in target:
                raise _Unknown  # a pointer to a pointer to a function: its place is inside the inner one
            return f"{target[:at]} ({sign}){target[at:].lstrip() if opening == ' (' else target[at:]}"
    return target + sign


def _collapsed(target: str, sign: str) -> str:
    if sign == "&":
        return target.removesuffix("&&") + "&"
    raise _Unknown


def _last_part(scope: str) -> str:
    """The last name of `a::b<c::d>` without its template arguments: what a constructor is called."""
    scope = scope.partition("[abi:")[0] if scope.endswith("]") and not scope.endswith(">]") else scope
    if scope in STREAMS:
        return STREAMS[scope]
    depth = 0
    end = len(scope)
    for at in range(len(scope) - 1, -1, -1):
        letter = scope[at]
        if letter == ">":
            depth += 1
        elif letter == "<":
            depth -= 1
            end = at if depth == 0 else end
        elif letter == ":" and depth == 0:
            return scope[at + 1 : end]
    return scope[:end]
