#!/bin/sh
# Trains the photo models, or goes on with that: sh scripts/photo_training.sh PYTHON CC0_FOLDER OUT
#
# PYTHON has srgan-trt[train]. OUT gets the pictures (scripts/photo_data.py), then
#   clean/  a training on pictures made small by bicubic;
#   pixel/  from it, on pictures as people have them;
#   mean/   from that, against the mean instead of the median, with larger crops: those of 32 small pixels are mostly border
#           to a network that sees 19 around each;
#   gan/    from that, with features and a discriminator;
#   long/   from mean/, with twice the crops (srresnet-photo-x4).
# srgan-photo-x4 is long/ and a share of what gan/ moved the weights of mean/ by: its card says how much.
# Takes many hours; run it again after a stop. The precision is named, so that trainings go on in it on every machine.
set -eu
python=$1 photos=$2 out=$3
here=$(dirname "$0")
[ -d "$out/data/val" ] || "$python" "$here/photo_data.py" "$photos" "$out/data"

train() { # OUT STEPS RATE CROP BATCH OPTIONS...
    folder=$out/$1 steps=$2 rate=$3 crop=$4 batch=$5
    shift 5
    resume=
    if [ -f "$folder/checkpoint.npz" ]; then
        [ -f "$folder/complete" ] && return
        resume=--resume
    fi
    nice -n 10 "$python" -m srgan_trt train --hr "$out/data/train" --val "$out/data/val" --out "$folder" \
        --crop "$crop" --batch "$batch" --steps "$steps" --learning-rate "$rate" --precision bf16 --seed 1 --validate-every 5000 \
        $resume "$@"
    touch "$folder/complete"
}

train clean 15000 5e-4 128 8 --arch compact --blocks 8 --filters 64
train pixel 20000 4e-4 128 8 --degrade real --init "$out/clean/generator.h5"
printf 'loss = "mse"\n' > "$out/mean.toml"
train mean 16000 4e-4 192 4 --recipe "$out/mean.toml" --degrade real --init "$out/pixel/generator.h5"
cat > "$out/gan.toml" <<'TOML'
content_layers = ["block3_conv3", "block5_conv2"]
adversarial_weight = 0.02
pixel_weight = 1.0
checkerboard_weight = 10.0
discriminator_filters = 32
TOML
train gan 12000 1e-4 128 4 --stage gan --recipe "$out/gan.toml" --degrade real --init "$out/mean/generator.h5"
train long 18000 4e-4 192 8 --seed 5 --recipe "$out/mean.toml" --degrade real --init "$out/mean/generator.h5"
