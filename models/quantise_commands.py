"""The command that makes an INT8 form of a detector: `quantise`."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from models.progress import bars

app = typer.Typer()


@app.command()
def quantise(
    target: Annotated[
        str,
        typer.Argument(
            metavar="BUNDLE_OR_PRODUCT",
            help="A bundle's folder, or a registered product: `cap` for its champion, `cap@3`, `cap@ALIAS`.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Argument(help="The pictures it learnt from; labelled ones, if any, to compare."),
    ],
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="What an image AUROC may fall.")] = 0.005,
    symmetric: Annotated[
        bool, typer.Option(help="Integers as TensorRT takes them; other runtimes take them too, a little less exact.")
    ] = False,
    region: Annotated[str | None, typer.Option(metavar="X,Y,W,H", help="The region it learnt under, if any.")] = None,
    mask: Annotated[Path | None, typer.Option(help="The mask it learnt under, if any.")] = None,
    output: Annotated[Path | None, typer.Option(help="Keep the bundle in this folder as well.")] = None,
    register: Annotated[
        bool, typer.Option(help="Register it as a new version of its product, the challenger; never the champion.")
    ] = True,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Make an INT8 form of a detector: smaller, and faster where the CPU or GPU multiplies integers.

    Refused, with the numbers, when it tells defects less well than the detector that it is made from, when its verdicts
    differ, or when runtimes do not agree on it.

    Example: `sightline quantise bottle_cap parts/bottle_cap`
    """
    import os

    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary, bars() as show:
        show("loading", 0, 1)
        from models import registry
        from models.judging import tracking
        from models.quantise import quantise as run
        from models.runtime.card import load_card
        from models.runtime.view import view_of
        from sightline.settings import RegistrySettings

        settings, view = RegistrySettings.load(), view_of(region, mask)
        show("loading", 1, 1)
        folder = Path(target)
        if not (folder.is_dir() or len(folder.parts) > 1):
            folder = registry.fetch(tracking.find(target, settings), Path(temporary) / "float", settings)
        made = Path(temporary) / "int8"
        compared = run(
            folder,
            data,
            made,
            settings,
            symmetric=symmetric,
            view=view,
            max_loss=max_loss,
            threads=threads,
            progress=show,
        )
        card = load_card(made)
        registered = registry.register_bundle(made, settings, alias=registry.CHALLENGER) if register else None
        if output:
            shutil.copytree(made, output, dirs_exist_ok=True)
    if as_json:
        version = registered.version if registered else None
        typer.echo(json.dumps(asdict(compared) | {"version": version}))
        return
    if registered:
        typer.echo(f"{card.name} version {registered.version} is the challenger: {card.method} in INT8")
    pairs = (
        ("synthetic defects", compared.synthetic_float, compared.synthetic_int8),
        (f"{compared.labelled} labelled pictures", compared.labelled_float, compared.labelled_int8),
    )
    for what, before, after in pairs:
        if before is not None and after is not None:
            typer.echo(f"{what}: AUROC {before:.4f} in float, {after:.4f} in INT8")
