"""How a long step says how far it is: to nobody, or as bars on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Progress = Callable[[str, int, int], None]
"""Called with the step's name, what is done and what is to do."""


def quiet(step: str, done: int, total: int) -> None:
    """Progress for nobody."""


@contextmanager
def bars() -> Iterator[Progress]:
    """Progress bars on stderr, one for each step that is named."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Shown

    columns = (TextColumn("{task.description:<12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    steps: dict[str, TaskID] = {}
    with Shown(*columns, console=Console(stderr=True)) as shown:

        def show(step: str, done: int, total: int) -> None:
            if step not in steps:
                steps[step] = shown.add_task(step, total=total)
            shown.update(steps[step], completed=done, total=total)

        yield show
