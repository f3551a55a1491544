#!/bin/sh
# Trains the photo models, or goes on with that: sh scripts/photo_training.sh PYTHON CC0_FOLDER OUT
#
# PYTHON has srgan-trt[train]. OUT gets the pictures (scripts/photo_data.py), pixel/ and its checkpoint. Takes hours; run it
# again after a stop. The precision is named, so that trainings go on in it on every machine.
set -eu
python=$1 photos=$2 out=$3
here=$(dirname "$0")
[ -d "$out/data/val" ] || "$python" "$here/photo_data.py" "$photos" "$out/data"
resume=
[ -f "$out/pixel/checkpoint.npz" ] && resume=--resume
exec nice -n 10 "$python" -m srgan_trt train --hr "$out/data/train" --val "$out/data/val" --out "$out/pixel" \
    --degrade real --arch compact --blocks 8 --filters 64 --crop 128 --batch 8 --steps 160000 \
    --learning-rate 5e-4 --precision bf16 --seed 1 --validate-every 5000 $resume
