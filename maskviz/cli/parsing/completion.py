"""What a shell may complete: commands, options, the values they take, models of this machine, files."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maskviz.cli.parsing.usage import Declared, declared_by
from maskviz.core.checks.traps import batches, masks, models
from maskviz.core.words import DTYPES, Backend, Dialect
from maskviz.demo import NAMES
from maskviz.load.models.cached import cached_models

# Variables a shell asks with: which shell it is, and the line up to the cursor.
SHELL, LINE = "_MASKVIZ_COMPLETE", "_MASKVIZ_LINE"
_TRAPS = {trap.id: trap for trap in (*batches.TRAPS, *masks.TRAPS, *models.TRAPS)}
_DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
# As `core/rules/registry.py` has them, which needs numpy; a test holds them together.
_RULES = (
    *("bidirectional", "causal", "window(N)", "window(±N)", "ahead(N)", "chunk(N)", "prefix(N)", "block(N)"),
    *("diffusion(N, LENGTH)", "document", "padding"),
)
_MASKS, _RUNS = (".npy", ".pt", ".safetensors"), (".npz",)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may stand at the cursor, and what it is."""

    value: str
    sentence: str = ""


def answer(root: Any, sentences: Mapping[str, str]) -> str:
    """What the shell that asks is told: a line for each candidate, in its own form.

    Args:
        root: The command line as the parser has it.
        sentences: What each command says of itself.
    """
    shell, line = os.environ[SHELL], os.environ.get(LINE, "")
    words, begun = typed(line)
    found = [one for one in candidates(root, sentences, words, begun) if one.value.startswith(begun)]
    return "\n".join(_written(shell, one, begun) for one in found)


def typed(line: str) -> tuple[list[str], str]:
    """The words behind `maskviz` in the last command of a line, and the one that is begun at its end."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=";|&")
    reader.whitespace_split, reader.commenters = True, ""
    words: list[str] = []
    begun = not line[-1:].isspace()
    try:
        words.extend(reader)
    except ValueError:  # a quote is open, and the cursor behind it
        words.append(reader.token.lstrip("'\""))
        begun = True
    for place in range(len(words) - 1, -1, -1):
        if set(words[place]) <= set(";|&") and words[place]:
            words = words[place + 1 :]
            break
    start = next((place for place, word in enumerate(words) if Path(word).name == "maskviz"), 0)
    words = words[start + 1 :]
    return (words[:-1], words[-1]) if begun and words else (words, "")


def candidates(root: Any, sentences: Mapping[str, str], words: list[str], begun: str) -> Iterator[Candidate]:
    """What may stand behind some words in place of one that is begun."""
    name = next((word for word in words if word in root.commands), None)
    if name is None:
        if begun.startswith("-"):
            yield from (Candidate(option, one.help or "") for one in root.params for option in one.opts)
            yield Candidate("--help", "Show this message and exit.")
        else:
            yield from (Candidate(one, said) for one, said in sentences.items())
        return
    command = root.commands[name]
    kinds = declared_by(command)
    option = next((one for one in command.params if words[-1] in one.opts), None)
    if option is not None and words[-1] != name and not _stands_alone(option, kinds):
        yield from _values(name, option, kinds, begun)
    elif begun.startswith("-") and "=" in begun:
        asked, _, value = begun.partition("=")
        for one in command.params:
            if asked in one.opts:
                yield from (Candidate(f"{asked}={found.value}") for found in _values(name, one, kinds, value))
    elif begun.startswith("-"):
        yield from (Candidate(o, one.help or "") for one in command.params for o in one.opts if o.startswith("-"))
        yield Candidate("--help", "Show this message and exit.")
    else:
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        yield from (found for one in arguments for found in _values(name, one, kinds, begun))


def _stands_alone(option: Any, kinds: Mapping[str, Declared]) -> bool:
    return option.param_type_name == "argument" or option.name not in kinds or kinds[option.name].flag


def _values(command: str, parameter: Any, kinds: Mapping[str, Declared], begun: str) -> Iterator[Candidate]:
    """What a parameter takes, of what there is a list of."""
    kind = kinds[parameter.name]
    offer = _OFFERS.get((command, parameter.name)) or _OFFERS.get(("", parameter.name))
    if offer is not None:
        yield from offer(begun)
    elif kind.choices:
        yield from map(Candidate, kind.choices)
    elif not kind.argument and re.fullmatch(r"[a-z]+(\|[a-z]+)+", kind.value):
        yield from map(Candidate, kind.value.split("|"))


def _models(begun: str) -> Iterator[Candidate]:
    yield from (Candidate(f"demo:{name}", "of maskviz itself") for name in NAMES)
    yield from (Candidate(name, "in the cache of the hub") for name in cached_models())
    yield from _files(".json", ".gguf")(begun)


def _files(*suffixes: str) -> Callable[[str], Iterator[Candidate]]:
    """Files that end so, and folders on the way to them."""

    def found(begun: str) -> Iterator[Candidate]:
        folder, _, _ = begun.rpartition("/")
        before = f"{folder}/" if "/" in begun else ""
        try:
            paths = sorted(Path(before or ".").expanduser().iterdir())
        except (OSError, RuntimeError):
            return
        for path in paths:
            if path.is_dir() and not path.name.startswith("."):
                yield Candidate(f"{before}{path.name}/")
            elif path.suffix in suffixes:
                yield Candidate(before + path.name)

    return found


def _listed(*known: str) -> Callable[[str], Iterator[Candidate]]:
    """Words of which several may stand behind each other, with commas between them."""

    def found(begun: str) -> Iterator[Candidate]:
        before, comma, _ = begun.rpartition(",")
        yield from (Candidate(before + comma + one) for one in known if one not in before.split(","))

    return found


def _rules_of_check(begun: str) -> Iterator[Candidate]:
    before, comma, _ = begun.rpartition(",")
    yield from (Candidate(before + comma + one, trap.name) for one, trap in _TRAPS.items())


def _rule(begun: str) -> Iterator[Candidate]:
    """Kinds of rules, behind what is joined already; numbers are still to be typed."""
    before = re.match(r"(.*[&∧]\s*)?", begun, re.DOTALL)
    names = dict.fromkeys(one.partition("(")[0] for one in _RULES)
    yield from (Candidate((before[0] if before else "") + name) for name in names)


def _known(*known: str) -> Callable[[str], Iterator[Candidate]]:
    return lambda _: map(Candidate, known)


# What there is a list of, by command and parameter; of all commands where none is named.
_OFFERS: dict[tuple[str, str], Callable[[str], Iterator[Candidate]]] = {
    ("", "model"): _models,
    ("", "against"): _models,
    ("", "tokenizer"): _models,
    ("", "device"): _known(*_DEVICES),
    ("", "dtype"): _known(*DTYPES),
    ("convert", "dtype"): _known(),
    ("", "attn"): _listed(*Backend),
    ("", "select"): _rules_of_check,
    ("", "ignore"): _rules_of_check,
    ("convert", "to"): _known(*Dialect, "python"),
    ("mask", "rule"): _rule,
    ("", "meant"): _rule,
    ("", "mask"): _files(*_MASKS),
    ("", "inputs"): _files(*_RUNS, *_MASKS, ".json"),
    ("", "file"): _files(".txt", ".jsonl", ".md"),
    ("convert", "file"): _files(*_MASKS),
    ("", "image"): _files(".png", ".jpg", ".jpeg", ".webp"),
    ("view", "run"): _files(*_RUNS),
    ("explain", "texts"): _files(*_RUNS, *_MASKS),
    ("explore", "texts"): _files(*_RUNS),
    ("check", "subjects"): _files(*_MASKS),
    ("diff", "things"): _files(*_RUNS, *_MASKS),
}


def _written(shell: str, one: Candidate, begun: str) -> str:
    """A candidate in the form its shell reads."""
    if shell == "zsh":
        value = one.value.replace("\\", "\\\\").replace(":", "\\:")
        return f"{value}:{one.sentence}" if one.sentence else value
    if shell == "fish":
        return f"{one.value}\t{one.sentence}"
    breaks = [mark for mark in ":=" if mark in os.environ.get("COMP_WORDBREAKS", ":=")]
    return one.value[max((begun.rfind(mark) + 1 for mark in breaks), default=0) :]  # bash has what stands before


SCRIPTS = {
    "bash": """_maskviz() {
    local IFS=$'\\n'
    COMPREPLY=( $(COMP_WORDBREAKS="$COMP_WORDBREAKS" _MASKVIZ_COMPLETE=bash \\
        _MASKVIZ_LINE="${COMP_LINE:0:$COMP_POINT}" "$1" 2> /dev/null) )
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
    return 0
}
complete -o default -o nosort -F _maskviz maskviz
""",
    "zsh": """#compdef maskviz
_maskviz() {
    local line="${(j: :)words[1,CURRENT]}"
    local -a found
    found=("${(@f)$(_MASKVIZ_COMPLETE=zsh _MASKVIZ_LINE="$line" $words[1] 2> /dev/null)}")
    if [[ -n "$found[1]" ]]; then
        _describe maskviz found
    else
        _files
    fi
}
if [[ "$funcstack[1]" == _maskviz ]]; then
    _maskviz "$@"
else
    compdef _maskviz maskviz
fi
""",
    "fish": """function __maskviz_complete
    set -l found (env _MASKVIZ_COMPLETE=fish _MASKVIZ_LINE=(commandline -cp) maskviz 2> /dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path (commandline -ct)
    end
end
complete --command maskviz --no-files --keep-order --arguments '(__maskviz_complete)'
""",
}


def install(shell: str) -> tuple[Path, ...]:
    """Put the script of a shell where it finds it, and return the files that were written."""
    home = Path.home()
    if shell == "fish":
        return (_write(home / ".config" / "fish" / "completions" / "maskviz.fish", SCRIPTS[shell]),)
    if shell == "zsh":
        script = _write(home / ".zfunc" / "_maskviz", SCRIPTS[shell])
        return script, _with_line(home / ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit")
    script = _write(home / ".bash_completions" / "maskviz.sh", SCRIPTS[shell])
    return script, _with_line(home / ".bashrc", f"source {shlex.quote(str(script))}")


def shell_of_user() -> str:
    """The shell this was started from, or the user's own; empty where it is none that is known."""
    try:
        import shellingham  # type: ignore[import-untyped]  # it comes with typer

        name = str(shellingham.detect_shell()[0])
    except (ImportError, RuntimeError, OSError):
        name = Path(os.environ.get("SHELL", "")).name
    return name if name in SCRIPTS else ""


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _with_line(path: Path, line: str) -> Path:
    """A file of settings with a line at its end, once."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return _write(path, "\n".join([*lines, line]) + "\n") if line not in lines else path
