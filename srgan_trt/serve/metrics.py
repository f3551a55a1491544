"""Numbers for Prometheus, in its text format."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .._version import __version__

if TYPE_CHECKING:
    from .job import Job

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_MEGAPIXELS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 25.0)


class Histogram:
    def __init__(self, bounds: Iterable[float]) -> None:
        self._buckets = dict.fromkeys(bounds, 0)
        self._count, self._sum = 0, 0.0

    def observe(self, value: float) -> None:
        self._count += 1
        self._sum += value
        for bound in self._buckets:
            if value <= bound:
                self._buckets[bound] += 1

    def lines(self, name: str, text: str) -> Iterator[str]:
        yield f"# HELP {name} {text}"
        yield f"# TYPE {name} histogram"
        for bound, count in self._buckets.items():
            yield f'{name}_bucket{{le="{bound:g}"}} {count}'
        yield f'{name}_bucket{{le="+Inf"}} {self._count}'
        yield f"{name}_sum {self._sum:.6f}"
        yield f"{name}_count {self._count}"


class Metrics:
    """Counts since the start. Written and read by the event loop only."""

    def __init__(self) -> None:
        self._begin = time.time()
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._pictures: Counter[tuple[str, str]] = Counter()
        self._seconds = Histogram(_SECONDS)
        self._megapixels = Histogram(_MEGAPIXELS)

    def request(self, method: str, route: str, status: int) -> None:
        self._requests[method, route, status] += 1

    def picture(self, job: Job) -> None:
        """A job that is over."""
        self._pictures[job.options.model, job.state] += 1
        if job.result is not None:
            self._seconds.observe(job.result.seconds["network"])
            self._megapixels.observe(job.width * job.height / 1e6)

    def text(self, gauges: Mapping[str, tuple[str, float]]) -> str:
        """gauges: by name, what it is and its value now."""
        return "\n".join(self._lines(gauges)) + "\n"

    def _lines(self, gauges: Mapping[str, tuple[str, float]]) -> Iterator[str]:
        yield "# HELP srgan_trt_requests_total Answers, by method, route and status."
        yield "# TYPE srgan_trt_requests_total counter"
        for (method, route, status), count in sorted(self._requests.items()):
            yield f'srgan_trt_requests_total{{method="{method}",route="{route}",status="{status}"}} {count}'
        yield "# HELP srgan_trt_pictures_total Pictures, by model and what became of them."
        yield "# TYPE srgan_trt_pictures_total counter"
        for (model, state), count in sorted(self._pictures.items()):
            yield f'srgan_trt_pictures_total{{model="{_label(model)}",state="{state}"}} {count}'
        yield from self._seconds.lines("srgan_trt_network_seconds", "Seconds that a picture was in the network.")
        yield from self._megapixels.lines("srgan_trt_megapixels", "Megapixels of pictures, before they are enlarged.")
        process = {
            "srgan_trt_resident_bytes": ("Memory of the process.", resident_bytes()),
            "srgan_trt_start_time_seconds": ("When the service began, since 1970.", self._begin),
        }
        for name, (text, value) in {**gauges, **process}.items():
            yield f"# HELP {name} {text}"
            yield f"# TYPE {name} gauge"
            yield f"{name} {value:.10g}"
        yield "# HELP srgan_trt_build_info The version that runs."
        yield "# TYPE srgan_trt_build_info gauge"
        yield f'srgan_trt_build_info{{version="{__version__}"}} 1'


def resident_bytes() -> int:
    """Memory that this process holds; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
