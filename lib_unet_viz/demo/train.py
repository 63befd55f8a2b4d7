"""Train the bundled model from nothing: `python -m lib_unet_viz.demo.train`. Called again, it goes on.

Stages: tokenizer, autoencoder, latents (scenes encoded once), scorer (of shapes), things_scorer, unet (with
the text encoder), bundle (into the package), report (loss curves and a sheet of samples, into docs/).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from lib_unet_viz.demo import bundle, dataset, model, report, scorer, tokenizer, train_autoencoder, train_unet
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.demo.things import scorer as things_scorer

STAGES = (
    "tokenizer",
    "autoencoder",
    "latents",
    "scorer",
    "things_scorer",
    "unet",
    "bundle",
    "report",
)


def main() -> None:
    """Read the command line and run the stages asked for."""
    choice = options()
    for stage in choice.stages or STAGES:
        _run(stage, choice)


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for; `stages` is empty for all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("stages", nargs="*", type=_stage, metavar="STAGE", help="(all, in order)")
    parser.add_argument("--work", type=Path, default=Path("training"), help="folder of states and logs")
    parser.add_argument("--minutes", type=float, default=190, help="of the unet stage, in all (default 190)")
    parser.add_argument("--autoencoder-minutes", type=float, default=17)
    parser.add_argument("--scorer-minutes", type=float, default=10)
    parser.add_argument("--things-scorer-minutes", type=float, default=40)
    parser.add_argument(
        "--decoder", action="store_true", help="of the autoencoder, train the decoder only: latents stay"
    )
    parser.add_argument(
        "--bfloat16",
        action="store_true",
        help="the autoencoder's stage in bfloat16: faster where CPUs have it",
    )
    parser.add_argument("--scenes", type=int, default=16_384, help="scenes encoded for the unet stage")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of the report's pictures")
    parser.add_argument(
        "--bundled", action="store_true", help="start from the bundled weights, not from nothing"
    )
    parser.add_argument("--processes", type=int, default=1, help="of the unet stage, on a CPU")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args(arguments)


def _stage(name: str) -> str:
    if name not in STAGES:
        raise argparse.ArgumentTypeError(f"{name!r} is no stage; allowed: {', '.join(STAGES)}")
    return name


def _run(stage: str, choice: argparse.Namespace) -> None:
    work, device = choice.work, choice.device
    if stage == "tokenizer":
        tokenizer.build(work / "tokenizer")
    elif stage == "autoencoder":
        train_autoencoder.train(
            work,
            minutes=choice.autoencoder_minutes,
            device=device,
            bundled=choice.bundled,
            decoder=choice.decoder,
            bfloat16=choice.bfloat16,
        )
    elif stage == "latents":
        vae = model.new_autoencoder().to(device)
        if choice.bundled:
            vae = train_autoencoder.bundled_autoencoder().to(device)
        Checkpoint(work / "autoencoder.pt", {"vae": vae}).load()
        dataset.encode(vae, work, count=choice.scenes, device=device)
    elif stage == "scorer":
        scorer.train(work, minutes=choice.scorer_minutes, device=device)
    elif stage == "things_scorer":
        things_scorer.train(work, minutes=choice.things_scorer_minutes, device=device, bundled=choice.bundled)
    elif stage == "unet":
        train_unet.train(
            work, minutes=choice.minutes, device=device, processes=choice.processes, bundled=choice.bundled
        )
    elif stage == "bundle":
        bundle.write(work, model.FOLDER)
    elif stage == "report":
        report.write(choice.docs)


if __name__ == "__main__":
    main()
