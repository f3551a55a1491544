"""`srgan-trt upscale --ray`: the pictures go to a cluster; what came of each is said here as without one."""

from __future__ import annotations

import time
from argparse import Namespace
from typing import TYPE_CHECKING

from .options import already_done, given, of_upscaler, open_manifest, open_model, option_names, wanted_size
from .summary import facts, pictures

if TYPE_CHECKING:
    from .console import Console

_NOT_THERE = ("compare", "dry_run", "jobs", "first_frame", "max_vram")
"""Options for one machine."""


def run_on_ray(args: Namespace, console: Console, begin: float) -> int:
    """Upscales the inputs on a cluster. begin: when the command began. Returns 0 if every picture came out."""
    from ..imaging.decode import MAX_PIXELS
    from ..imaging.encode import check_format
    from ..manifest import with_row
    from ..ray import Pool, upscale_dataset
    from ..sizes import result_label

    if others := given(args, *_NOT_THERE):
        console.error(f"{option_names(list(others)[:1])} is for one machine: leave it out, or --ray")
        return 2
    if args.output is None or args.output == "-":
        console.error("a cluster needs a folder that all its machines reach: give one with -o, like s3://bucket/out")
        return 2
    args.max_pixels = args.max_pixels or MAX_PIXELS
    size = wanted_size(args)
    check_format(args.format or "png", args.quality)
    plan = open_model(args)
    label = result_label(size, plan.spec)
    manifest = open_manifest(args, plan, label, console)
    outcomes = upscale_dataset(
        args.inputs,
        output=args.output,
        model=plan,
        address=None if args.ray == "auto" else args.ray,
        pool=Pool(actors=args.actors, cpus=args.cpus_per_actor, gpus=args.gpus_per_actor or 0),
        format=args.format or "png",
        label=label,
        overwrite=args.overwrite,
        done=already_done(args, manifest),
        writing={"quality": args.quality, "size": size, "max_pixels": args.max_pixels},
        **of_upscaler(args),
    )
    counts = {"done": 0, "skipped": 0, "failed": 0}
    for outcome in outcomes:
        name, target = outcome.job.source.name, str(outcome.job.target)
        if outcome.job.skipped:
            counts["skipped"] += 1
            console.event("done", input=name, output=target, skipped=True)
            continue
        outcome = with_row(manifest, outcome)
        counts["done" if outcome.error is None else "failed"] += 1
        if outcome.error is not None:
            console.error(outcome.error, source=name)
            continue
        for note in outcome.notes:
            console.note(note, source=name)
        console.event("done", input=name, output=target, skipped=False, **facts(outcome))
    seconds = time.perf_counter() - begin
    console.event("summary", **counts, seconds=round(seconds, 3), opening=0.0, device="ray")
    there = f", {counts['skipped']} there already" if counts["skipped"] else ""
    lost = f", {counts['failed']} not" if counts["failed"] else ""
    console.result(f"{pictures(counts['done'])}{lost}{there}, in {seconds:.2f} s by Ray")
    return 1 if counts["failed"] else 0
