"""OpenVINO, without what it does at import beside its work."""

from __future__ import annotations

import sys
import threading
from typing import Any

from ...errors import DeviceError

_TELEMETRY = "openvino_telemetry"
_lock = threading.Lock()


def load_openvino() -> Any:
    """OpenVINO, imported without its telemetry, which is on unless a user opts out: it asks a name server, starts a
    process, writes into HOME and sets up the root logger. Where the package is absent, OpenVINO has a stand-in for it.

    Raises DeviceError if OpenVINO cannot be loaded.
    """
    with _lock:
        first = "openvino" not in sys.modules
        before = sys.modules.get(_TELEMETRY)
        if first:
            sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # so it is not found: the import system's own way
        try:
            import openvino
        except ImportError as error:
            raise DeviceError(f"OpenVINO cannot be loaded ({error}): pip install --force-reinstall openvino") from error
        finally:
            if first:
                del sys.modules[_TELEMETRY]
                if before is not None:
                    sys.modules[_TELEMETRY] = before
    return openvino
