"""Looks for all that we call of TensorRT, and whether it takes our arguments, in the bindings of several versions,
without its libraries or a GPU.

    pip download --no-deps -d wheels tensorrt-cu12-bindings==10.9.0.34
    pip download --no-deps -d wheels tensorrt-cu13-bindings==11.4.0.106
    python scripts/tensorrt_names.py wheels/*.whl

The bindings are loaded over libraries that hold their symbols and nothing else, none of which is called; needs a C
compiler. Ends with 1 if a name is absent that is not asked for first, or a call does not fit.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_LOOK = """
import sys
sys.setdlopenflags(1)  # lazily: functions that nobody calls need not be there
sys.path[:0] = [{root!r}, {bindings!r}]
import tensorrt as trt
from tests.tensorrt.names import absent, misfits
print("\\n".join([*absent(trt), *("call " + each for each in misfits(trt))]))
"""


def absent_from(wheel: Path) -> list[str]:
    """The names that the bindings in `wheel` have not, and "call ..." for those whose arguments do not fit."""
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
        (bindings,) = Path(folder).glob("tensorrt*_bindings/tensorrt*.so")
        symbols = subprocess.run(["nm", "-D", "--undefined-only", bindings], capture_output=True, text=True, check=True)
        theirs = re.findall(r"\b(\w*(?:[Nn]v|Infer|Onnx|Plugin)\w*)$", symbols.stdout, re.MULTILINE)
        theirs = [name for name in theirs if not name.startswith("Py")]
        source = "".join(f"char {name}[64];\n" for name in theirs)
        for index, name in enumerate(sorted(set(re.findall(rb"libnv[a-z_]+\.so\.\d+", bindings.read_bytes())))):
            subprocess.run(
                ["cc", "-shared", "-x", "c", "-", "-o", str(bindings.parent / name.decode()),
                 f"-Wl,-soname,{name.decode()}"], input="" if index else source, text=True, check=True,
            )  # fmt: skip
        code = _LOOK.format(root=str(ROOT), bindings=str(bindings.parent))
        ran = subprocess.run(
            [sys.executable, "-c", code], env={"LD_LIBRARY_PATH": str(bindings.parent), "PATH": "/usr/bin:/bin"},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if ran.returncode:
        raise SystemExit(f"{wheel.name} cannot be loaded: {ran.stderr.strip().splitlines()[-1]}")
    return ran.stdout.splitlines()


def main(wheels: list[str]) -> int:
    sys.path.insert(0, str(ROOT))
    from tests.tensorrt.names import ASKED_FIRST

    failed = 0
    for wheel in map(Path, wheels):
        names = absent_from(wheel)
        wrong = sorted(set(names) - ASKED_FIRST)
        failed |= bool(wrong)
        print(f"{wheel.name}: {', '.join(wrong) or 'all is there'}; asked for first: {', '.join(names)}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
