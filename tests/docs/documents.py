"""What the documents say, taken apart: their blocks of code, their words in code, their commands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHELL = frozenset({"sh", "bash", "console"})

_FENCE = re.compile(r"^\s*(```+|~~~+)\s*([A-Za-z]*)")
_BETWEEN_COMMANDS = frozenset("|&;")
_ASSIGNMENT = re.compile(r"[A-Z][A-Z0-9_]*=")
_RUNNERS = frozenset({"setsid", "nohup", "exec", "sudo", "time"})


@dataclass(frozen=True)
class Block:
    """One fenced block: the document, the line it begins in, its language, its lines."""

    document: str
    line: int
    language: str
    lines: tuple[str, ...]


def documents() -> list[Path]:
    """Every page that people write or read, generated ones included."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("ops/**/*.md")]
    return sorted([*pages, ROOT / "examples" / "README.md"])


def blocks() -> Iterator[Block]:
    """Every fenced block of every document."""
    for path in documents():
        name = str(path.relative_to(ROOT))
        fence, language, begun, lines = "", "", 0, list[str]()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            mark = _FENCE.match(line)
            if not fence and mark:
                fence, language, begun, lines = mark[1], mark[2], number, []
            elif fence and mark and mark[1] == fence and not mark[2]:
                yield Block(name, begun, language, tuple(lines))
                fence = ""
            elif fence:
                lines.append(line)


def words_in_code() -> Iterator[tuple[str, str]]:
    """The document, and each text between backquotes in its prose, which may go on in the next line."""
    for path in documents():
        text = re.sub(
            r"^ *```.*?^ *```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        for paragraph in text.split("\n\n"):
            for found in re.findall(r"`([^`]+)`", " ".join(paragraph.split())):
                yield str(path.relative_to(ROOT)), found


def commands(program: str) -> Iterator[tuple[str, list[str]]]:
    """Where it stands, and the arguments: each use of `program` in a block for a shell."""
    for block in blocks():
        if block.language not in SHELL:
            continue
        for offset, line in enumerate(_joined(block.lines)):
            for words in _simple_commands(line):
                if words and Path(words[0]).name == program:
                    yield f"{block.document}, block at line {block.line}, command {offset + 1}", words[1:]


def _joined(lines: tuple[str, ...]) -> list[str]:
    """Whole commands: lines that end with a backslash, or inside quotes, are joined to the next one.

    Here-documents and comments are left out.
    """
    joined: list[str] = []
    until, begun = "", ""
    for line in lines:
        if until:
            until = "" if line == until else until
        elif line.endswith("\\"):
            begun += line[:-1] + " "
        elif not begun and line.startswith("#"):
            continue
        elif _open_quote(begun + line):
            begun += line + "\n"
        else:
            joined.append(begun + line)
            here = re.search(r"<<'?(\w+)'?", line)
            until, begun = here[1] if here else "", ""
    assert not begun, f"a command that does not end: {begun}"
    return joined


def _open_quote(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False


def _simple_commands(line: str) -> Iterator[list[str]]:
    """The line's commands without redirections, assignments before them, and what only starts them."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    redirected = False
    for word in [*lexer, ";"]:
        if redirected:
            redirected = False
        elif word.startswith((">", "<")):
            redirected = True
            words = words[:-1] if words[-1:] == ["2"] else words  # the descriptor's number
        elif set(word) <= _BETWEEN_COMMANDS:
            if words:
                yield _stripped(words)
            words = []
        else:
            words.append(word)


def _stripped(words: list[str]) -> list[str]:
    while words and (_ASSIGNMENT.match(words[0]) or words[0] in _RUNNERS):
        words = words[1:]
    return words
