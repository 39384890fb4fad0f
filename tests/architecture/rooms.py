"""The structure in numbers: `python -m tests.architecture.rooms` prints rooms, lines, fan-in and import circles.

Imports within functions and under `TYPE_CHECKING` count like all others.
"""

import ast
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("pipeline_core", "plugins", "flows")
KERNEL = ("errors", "store", "plugin", "stage", "pipeline")
"""What one reads first."""


@cache
def modules() -> dict[str, Path]:
    """Files by dotted name."""
    found = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            parts = file.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def graph() -> dict[str, set[str]]:
    """The modules that each module imports."""
    known = modules()
    return {name: _imported(name, file, known) - {name} for name, file in known.items()}


def _imported(name: str, file: Path, known: dict[str, Path]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found & known.keys()


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Modules that import each other, straight or by others, together (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = lowest[module] = len(order)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in order:
                visit(other)
            if other in stack:
                lowest[module] = min(lowest[module], lowest[other])
        if lowest[module] == order[module]:
            together = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(together) > 1:
                found.append(sorted(together))

    for module in imports:
        if module not in order:
            visit(module)
    return found


def room_of(module: str) -> str:
    """The room of the core that a module stands in; plugins and flows are one each."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "pipeline_core" else package


def main() -> None:
    """Print a row for each room, then the kernel and the circles."""
    files, imports = modules(), graph()
    lines = Counter({name: len(file.read_text(encoding="utf-8").splitlines()) for name, file in files.items()})
    asked: dict[str, set[str]] = {}
    for module, others in imports.items():
        for other in others:
            if room_of(other) != room_of(module):
                asked.setdefault(room_of(other), set()).add(room_of(module))
    print(f"{'room':<14}{'files':>6}{'lines':>7}  rooms that import it")
    for room in sorted({*map(room_of, files)}):
        inside = [name for name in files if room_of(name) == room]
        users = ", ".join(sorted(asked.get(room, ())))
        print(f"{room:<14}{len(inside):>6}{sum(lines[name] for name in inside):>7}  {users}")
    kernel = sum(count for name, count in lines.items() if name.startswith("pipeline_core") and room_of(name) in KERNEL)
    print(f"kernel ({', '.join(KERNEL)}): {kernel} lines; all: {sum(lines.values())} lines")
    found = circles(imports)
    print(f"import circles: {len(found)}", *(" <-> ".join(one) for one in found), sep="\n")


if __name__ == "__main__":
    main()
