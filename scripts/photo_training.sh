#!/bin/sh
# Trains the photo models, or goes on with that: sh scripts/photo_training.sh PYTHON CC0_FOLDER OUT
#
# PYTHON has srgan-trt[train]. OUT gets the pictures (scripts/photo_data.py), then clean/, a training on pictures made small
# by bicubic, and pixel/, which goes on from it with pictures as people have them: begun with these, a network has learnt
# little of clean ones after 20,000 steps (only a fifth of the pictures are clean). Takes many hours; run it again after a
# stop. The precision is named, so that trainings go on in it on every machine.
set -eu
python=$1 photos=$2 out=$3
here=$(dirname "$0")
[ -d "$out/data/val" ] || "$python" "$here/photo_data.py" "$photos" "$out/data"

train() { # OUT STEPS RATE OPTIONS...
    folder=$out/$1 steps=$2 rate=$3
    shift 3
    resume=
    if [ -f "$folder/checkpoint.npz" ]; then
        [ -f "$folder/complete" ] && return
        resume=--resume
    fi
    nice -n 10 "$python" -m srgan_trt train --hr "$out/data/train" --val "$out/data/val" --out "$folder" \
        --crop 128 --batch 8 --steps "$steps" --learning-rate "$rate" --precision bf16 --seed 1 --validate-every 5000 \
        $resume "$@"
    touch "$folder/complete"
}

train clean 15000 5e-4 --arch compact --blocks 8 --filters 64
train pixel 20000 4e-4 --degrade real --init "$out/clean/generator.h5"
