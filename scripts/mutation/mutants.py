"""The mutants of a file, made by mutmut: one function each, with a trampoline."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mutmut.mutation.file_mutation import mutate_file_contents

Span = tuple[int, int]


@dataclass(frozen=True)
class Mutant:
    """One changed expression."""

    name: str
    """As the trampoline wants it: `consumers.registry.identity.xǁLedgerǁmint__mutmut_3`."""
    path: str
    """Of the file, from the checkout's root."""
    function: str
    before: str
    after: str
    statement: Span
    """The lines of the file, first and last, of the statement that is changed."""
    body: Span
    """Those of the function."""
    digest: str
    """Of the function before and after the change: a verdict holds while this is the same."""

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Mutant:
        """Read back what `stored` wrote."""
        spans = {key: (stored[key][0], stored[key][1]) for key in ("statement", "body")}
        return cls(**{**stored, **spans})

    def stored(self) -> dict[str, Any]:
        """The form for JSON."""
        return asdict(self)


def mutate(path: str, source: str) -> tuple[str, list[Mutant]]:
    """The file with all its mutants in it, and their list."""
    mutated = mutate_file_contents(path, source)
    lines = mutated.code.splitlines()
    texts = {
        node.name: lines[node.lineno - 1 : node.end_lineno]
        for node in ast.walk(ast.parse(mutated.code))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and "__mutmut_" in node.name
    }
    functions = dict(_functions(ast.parse(source)))
    module = path.removesuffix(".py").replace("/", ".")
    mutants = []
    for name in mutated.mutant_names:
        mangled = name.rsplit("__mutmut_", 1)[0]
        function = mangled.replace("xǁ", "").replace("ǁ", ".").removeprefix("x_")
        kept = f"{mangled}__mutmut_orig"
        original = [line.replace(kept, "") for line in texts[kept]]
        changed = [line.replace(name, "") for line in texts[name]]
        first, last, last_changed = _difference(original, changed)
        node = functions[function]
        body = (node.lineno, node.end_lineno or node.lineno)
        mutants.append(
            Mutant(
                name=f"{module}.{name}",
                path=path,
                function=function,
                before=" ".join(line.strip() for line in original[first:last]),
                after=" ".join(line.strip() for line in changed[first:last_changed]),
                statement=_statement(node, node.lineno + first, node.lineno + max(first, last - 1)),
                body=body,
                digest=hashlib.sha256("\n".join([*original, *changed]).encode()).hexdigest()[:16],
            )
        )
    return mutated.code, mutants


def _functions(
    tree: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.If | ast.Try):
            yield from _functions(node, prefix)


def _difference(original: list[str], changed: list[str]) -> tuple[int, int, int]:
    """The first differing line, and the ends of the difference in each, from 0."""
    shorter = min(len(original), len(changed))
    first = next((i for i in range(shorter) if original[i] != changed[i]), shorter)
    same = next((i for i in range(shorter - first) if original[-1 - i] != changed[-1 - i]), shorter - first)
    return first, len(original) - same, len(changed) - same


def _statement(function: ast.AST, first: int, last: int) -> Span:
    """The innermost statement around the lines. Of one that holds others, its head alone."""
    around: Span = (function.lineno, function.end_lineno)  # type: ignore[attr-defined]
    for node in ast.walk(function):
        if not isinstance(node, ast.stmt) or node is function:
            continue
        body = getattr(node, "body", None)
        end = body[0].lineno - 1 if body else node.end_lineno or node.lineno
        span = (node.lineno, max(end, node.lineno))
        if span[0] <= first and last <= span[1] and span[1] - span[0] <= around[1] - around[0]:
            around = span
    return around
