"""`python -m tests.mutants`: which mutants of `make mutants` the tests kill, and the changes that no test notices."""

from collections import Counter

from mutmut.__main__ import walk_mutatable_files  # type: ignore[import-untyped]
from mutmut.mutation.data import SourceFileMutationData  # type: ignore[import-untyped]
from mutmut.mutation.diff_apply import get_diff_for_mutant  # type: ignore[import-untyped]
from mutmut.stats import status_by_exit_code  # type: ignore[import-untyped]

# A mutant that runs into the time limit is killed: it loops for ever, or makes its tests many times slower.
KILLED = ("killed", "timeout", "segfault")


def _function(mutant: str) -> str:
    """The name in the source of `package.module.xǁClassǁmethod__mutmut_3` or `package.module.x_function__mutmut_3`."""
    name = mutant.rpartition(".")[2].rpartition("__mutmut_")[0]
    return name.removeprefix("xǁ").replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")


def _change(mutant: str, data: SourceFileMutationData) -> str:
    lines = get_diff_for_mutant(mutant, path=data.path).splitlines()[3:]
    before, after = (" ".join(line[1:].strip() for line in lines if line[0] == sign) for sign in "-+")
    return f"`{before}` → `{after}`".replace("|", "\\|")


def main() -> None:
    files = []
    for path in walk_mutatable_files():
        data = SourceFileMutationData(path=path)
        data.load()
        if data.exit_code_by_key:
            files.append(data)
    print("| file | mutants | killed | survived | no test | share killed (%) |\n|---|---|---|---|---|---|")
    total: Counter[str] = Counter()
    for data in files:
        counts = Counter(status_by_exit_code[code] for code in data.exit_code_by_key.values())
        total += counts
        print(_row(str(data.path).removeprefix("pipeline_core/"), counts))
    print(_row("all", total))
    print("\n| file | function | change that no test notices |\n|---|---|---|")
    for data in files:
        for mutant, code in data.exit_code_by_key.items():
            if status_by_exit_code[code] in ("survived", "no tests"):
                print(f"| {data.path.name} | {_function(mutant)} | {_change(mutant, data)} |")


def _row(name: str, counts: Counter[str]) -> str:
    killed = sum(counts[status] for status in KILLED)
    judged = killed + counts["survived"] + counts["no tests"]
    share = f"{100 * killed / judged:.1f}" if judged else ""
    unjudged = sum(counts.values()) - judged
    remark = f" ({unjudged} not run)" if unjudged else ""
    return f"| {name} | {judged}{remark} | {killed} | {counts['survived']} | {counts['no tests']} | {share} |"


if __name__ == "__main__":
    main()
