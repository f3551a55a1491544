#!/bin/sh
# Trains the photo models, or goes on with that: sh scripts/photo_training.sh PYTHON CC0_FOLDER OUT
#
# PYTHON has srgan-trt[train]. OUT gets the pictures (scripts/photo_data.py), then
#   clean/  a training on pictures made small by bicubic;
#   pixel/  from it, on pictures as people have them;
#   mean/   from that, against the mean instead of the median, with larger crops: those of 32 small pixels are mostly border
#           to a network that sees 19 around each;
#   long/   from that, with twice the crops;
#   blocks/ from that, with a loss on blocks of JPEGs that can still be seen;
#   common/ from that, with more of it (srresnet-photo-x4);
#   gan/    from blocks/, with features and a discriminator;
#   grain/  from that, with a loss on checkerboards that lets texture grow;
#   gan-blocks/ from that, with the loss on blocks;
#   features/ from that, with more weight on features and less on the discriminator (srgan-photo-x4).
# scripts/ship.py makes the models of the package of common/ and features/. For those that are shipped all before common/
# and features/ was trained without the damage in MIXTURE (srgan_trt/training/degrade.py) and on pictures in half to whole
# size. gan/ and grain/ were trained before blocks/ was: they began with long/, whose colours ship.py had centred (and gan/'s
# loss on checkerboards looked at whole crops); 0.95 of what they moved each weight by was added to blocks/, and gan-blocks/
# began with that.
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
train long 18000 4e-4 192 8 --seed 5 --recipe "$out/mean.toml" --degrade real --init "$out/mean/generator.h5"
printf 'loss = "mse"\nblock_weight = 0.05\n' > "$out/blocks.toml"
train blocks 15800 4e-4 192 8 --seed 12 --recipe "$out/blocks.toml" --degrade real --init "$out/long/generator.h5"
printf 'loss = "mse"\nblock_weight = 0.08\n' > "$out/common.toml"
train common 10500 4e-4 192 8 --seed 51 --recipe "$out/common.toml" --degrade real --init "$out/blocks/generator.h5"
adversarial() { # CONTENT_WEIGHT ADVERSARIAL_WEIGHT CHECKERBOARD_WEIGHT BLOCK_WEIGHT
    cat <<TOML
content_loss = "normalized"
content_layers = ["block3_conv3", "block4_conv3", "block5_conv3"]
content_weight = $1
adversarial_weight = $2
pixel_weight = 1.0
checkerboard_weight = $3
block_weight = $4
discriminator = "patch"
discriminator_filters = 32
TOML
}
adversarial 0.5 0.005 10.0 0.0 > "$out/gan.toml"
train gan 3000 1e-4 128 4 --stage gan --recipe "$out/gan.toml" --degrade real --init "$out/blocks/generator.h5"
adversarial 0.5 0.005 4.0 0.0 > "$out/grain.toml"
train grain 4500 1e-4 128 4 --stage gan --seed 2 --recipe "$out/grain.toml" --degrade real --init "$out/gan/generator.h5"
adversarial 0.5 0.005 4.0 1.0 > "$out/gan-blocks.toml"
train gan-blocks 2000 1e-4 128 4 --stage gan --seed 21 --recipe "$out/gan-blocks.toml" --degrade real \
    --init "$out/grain/generator.h5"
adversarial 1.0 0.002 4.0 1.0 > "$out/features.toml"
train features 1500 1e-4 128 4 --stage gan --seed 61 --recipe "$out/features.toml" --degrade real \
    --init "$out/gan-blocks/generator.h5"
