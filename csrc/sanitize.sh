#!/bin/sh
# Builds the extension with AddressSanitizer and UBSan in a temporary folder and runs its tests there.
# Usage: csrc/sanitize.sh [PYTHON] (or $PYTHON; default python3), an interpreter with the build and test requirements.
# Exit status: not 0 if a test fails or a sanitizer finds anything. Needs g++ with its sanitizer libraries.
set -eu

python=${1:-${PYTHON:-python3}}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A copy, so that no other build of the extension can be imported instead, and none of this is left in the checkout.
cp -R "$root/pyproject.toml" "$root/csrc" "$root/srgan_trt" "$work"
mkdir "$work/tests"
cp -R "$root/tests/__init__.py" "$root/tests/conftest.py" "$root/tests/csrc" "$work/tests"
rm -f "$work"/srgan_trt/_pixels.*.so

# The flags of setup.py, but -O1: the sanitizers' own checks take minutes to optimise.
sanitizers="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"
suffix=$("$python" -c "import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))")
for source in "$work"/csrc/*.cpp; do
    # $(...) and $sanitizers are lists of words.
    g++ -std=c++17 -O1 -g -fno-omit-frame-pointer -fPIC -fvisibility=hidden -ffp-contract=off -fno-trapping-math -fno-math-errno \
        $sanitizers $("$python" -m pybind11 --includes) -c "$source" -o "$source.o"
done
g++ -shared $sanitizers "$work"/csrc/*.o -o "$work/srgan_trt/_pixels$suffix"

export LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so)"
# Python itself keeps memory until it exits, on purpose.
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:abort_on_error=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONDONTWRITEBYTECODE=1 SRGAN_TRT_SHARED="${SRGAN_TRT_SHARED:-$root/../shared}"

cd "$work"
"$python" - <<'PYTHON'
import pathlib
import sys

import pytest

# Only sys: the sanitizers report on the real standard error, which must not be swallowed with the process.
# The CUDA kernels' tests build and sanitize a library of their own (test_cuda_kernels_sanitized.py).
options = ["-q", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--capture=sys", "--ignore-glob=*/test_cuda_*"]
status = pytest.main([*options, "tests/csrc"])
built = pathlib.Path(sys.modules["srgan_trt._pixels"].__file__).resolve()
if built.parent != pathlib.Path("srgan_trt").resolve():
    sys.exit(f"the tests did not run the sanitized build, but {built}")
sys.exit(status)
PYTHON
