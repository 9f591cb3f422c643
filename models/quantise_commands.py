"""The command that makes an INT8 form of a detector: `quantise`."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

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
        typer.Argument(
            help="The pictures it learnt from: good ones to calibrate on, labelled ones, if any, to compare."
        ),
    ],
    pictures: Annotated[int, typer.Option(min=1, help="Good pictures to take the ranges of integers from.")] = 64,
    max_loss: Annotated[float, typer.Option(min=0, max=1, help="What an image AUROC may fall.")] = 0.005,
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
    from models import registry
    from models.dataset import load_images
    from models.judging import tracking
    from models.quantise import prove_parity
    from models.quantise import quantise as run
    from models.runtime.card import load_card
    from models.trainingset import load_training_set
    from sightline.settings import RegistrySettings

    settings = RegistrySettings.load()
    with tempfile.TemporaryDirectory(prefix="sightline-int8-") as temporary:
        folder = Path(target)
        if not (folder.is_dir() or len(folder.parts) > 1):
            folder = registry.fetch(tracking.find(target, settings), Path(temporary) / "float", settings)
        made = Path(temporary) / "int8"
        dataset = load_training_set(data, mixed_sizes=True).dataset
        compared = run(folder, dataset, made, pictures=pictures, max_loss=max_loss, threads=threads)
        card = load_card(made)
        parity = prove_parity(made, load_images(dataset.good[:8], card.input_height, card.input_width), threads)
        registered = registry.register_bundle(made, settings, alias=registry.CHALLENGER) if register else None
        if output:
            shutil.copytree(made, output, dirs_exist_ok=True)
    if as_json:
        version = registered.version if registered else None
        typer.echo(json.dumps(asdict(compared) | {"parity": parity, "version": version}))
        return
    if registered:
        typer.echo(f"{card.name} version {registered.version} is the challenger: {card.method} in INT8")
    typer.echo(
        f"synthetic defects: AUROC {compared.synthetic_float:.4f} in float, {compared.synthetic_int8:.4f} in INT8; "
        f"{compared.changed:.1%} of the verdicts differ; runtimes agree within {parity:.2%} of the threshold"
    )
    if compared.labelled_float is not None and compared.labelled_int8 is not None:
        typer.echo(
            f"{compared.labelled} labelled pictures: AUROC {compared.labelled_float:.4f} in float, "
            f"{compared.labelled_int8:.4f} in INT8"
        )
