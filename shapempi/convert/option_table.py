"""The page of all modules and options of ShapePipe, from the same declarations by which files are converted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shapempi.convert.chain import MODULES
from shapempi.convert.command_line_tools import TOOLS
from shapempi.convert.engine_options import ENGINE, EVERY_MODULE
from shapempi.convert.mask_file import MASK_KEYS
from shapempi.convert.option import Module, Option
from shapempi.convert.psfex_file import PSFEX_KEYWORDS
from shapempi.convert.sextractor_file import SEX_KEYWORDS

__all__ = ["option_table"]

_HEAD = ("| ShapePipe | shapempi | what is different, or why there is none |", "|---|---|---|")


def option_table() -> str:
    """Return the tables of all modules, options, files and tools as Markdown (`docs/moving_from_shapepipe.md`)."""
    lines = ["### Modules", "", "| ShapePipe | also called | section | shapempi |", "|---|---|---|---|"]
    for module in MODULES:
        others = ", ".join(f"`{_runner(name)}`" for name in module.names[1:])
        lines.append(f"| `{_runner(module.names[0])}` | {others} | {module.section} | {_cell(module.counterpart)} |")
    lines += ["", "### Options of the engine", ""]
    for module in ENGINE:
        lines += [f"`[{module.names[0]}]`: {module.counterpart}", "", *_rows(module.options), ""]
    lines += [
        "A section of any module may also have these, and each as `ADD_...`:",
        "",
        *_rows(EVERY_MODULE.options),
        "",
    ]
    lines += ["### Options of the modules", ""]
    for module in MODULES:
        lines += [*_module(module), ""]
    lines += ["### The .mask file", "", *_HEAD]
    for name, (section, key, remark) in MASK_KEYS.items():
        lines.append(f"| `[{section}]` `{name}` | {f'`{key}`' if key else 'none'} | {_cell(remark)} |")
    lines += ["", "### The .sex file", "", *_rows(SEX_KEYWORDS)]
    lines += ["", "### The .psfex file", "", *_rows(PSFEX_KEYWORDS)]
    lines += ["", "### Tools of the command line", "", "| ShapePipe | option | shapempi |", "|---|---|---|"]
    for tool, section, options in TOOLS:
        lines += [f"| `{tool}` ({section}) | `{option}` | {_cell(counterpart)} |" for option, counterpart in options]
    return "\n".join(lines) + "\n"


def _runner(name: str) -> str:
    return name if name.endswith("runner2") else f"{name}_runner"


def _module(module: Module) -> Iterator[str]:
    """Yield the lines of a module's options."""
    names = ", ".join(f"`[{_runner(name).upper()}]`" for name in module.names)
    if not module.options:
        yield f"{names}: {module.counterpart}."
        return
    yield names
    yield ""
    yield from _rows(module.options)


def _rows(options: Iterable[Option]) -> Iterator[str]:
    """Yield a table of options."""
    yield from _HEAD
    for option in options:
        names = ", ".join(f"`{name}`" for name in option.names)
        keys = ", ".join(f"`{key}`" for key in option.counterpart) or "none"
        yield f"| {names} | {keys} | {_cell(option.why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
