"""What NVIDIA's GPUs can do at most, on paper: the figures of their maker, each with the document that says so.

Nothing here was measured by us; the figures were compared in November 2026 with quotations of these documents by
others, not with the documents themselves. Rates are those of the tensor cores on dense matrices, at the boost clock:
where a document prints the rate of structured sparsity (half of the weights zero), which an SRGAN generator has no use
for, half of it stands here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One GPU. An operation is a multiplication or an addition, so a multiply-accumulate is two."""

    name: str
    fp16_tflops: float
    """10^12 operations a second on float16 with sums in float16: the most that it can do."""
    int8_tops: float
    """10^12 operations a second on int8 with sums in int32."""
    bandwidth: float
    """Of its memory, in GB/s (10^9)."""
    source: str
    """Document of NVIDIA's and where in it."""
    unsure: str = ""
    """What was not found, not even quoted, and what stands here instead; "" for nothing."""


ACCELERATORS = (
    Accelerator(
        name="H100",
        fp16_tflops=989.4,
        int8_tops=1978.9,
        bandwidth=3350,
        source="H100 SXM5 80 GB: NVIDIA H100 Tensor Core GPU Architecture, V1.04, tables 1 (p. 20) and 3 (pp. 39-40); "
        "bandwidth: NVIDIA H100 Tensor Core GPU datasheet, table of specifications (3.35 TB/s)",
        unsure="the rate with sums in fp16; taken as with sums in fp32, which the A100's table has equal",
    ),
    Accelerator(
        name="A100",
        fp16_tflops=312,
        int8_tops=624,
        bandwidth=2039,
        source="A100 SXM4 80 GB: NVIDIA A100 Tensor Core GPU Architecture, table 4 (p. 36); "
        "bandwidth: NVIDIA A100 Tensor Core GPU datasheet, table of specifications",
    ),
    Accelerator(
        name="L4",
        fp16_tflops=121,
        int8_tops=242.5,
        bandwidth=300,
        source="NVIDIA L4 Tensor Core GPU datasheet, table of specifications (242 TFLOPS and 485 TOPS with sparsity)",
        unsure="which sums its fp16 rate is of; taken for both",
    ),
    Accelerator(
        name="T4",
        fp16_tflops=65,
        int8_tops=130,
        bandwidth=320,
        source="NVIDIA T4 Tensor Core GPU datasheet, table of specifications",
        unsure="which sums its fp16 rate is of (the datasheet says mixed precision); taken for both",
    ),
    Accelerator(
        name="RTX 4090",
        fp16_tflops=330.3,
        int8_tops=660.6,
        bandwidth=1008,
        source="NVIDIA Ada GPU Architecture, V2.02, appendix A, table 2",
    ),
    Accelerator(
        name="Jetson AGX Orin",
        fp16_tflops=42.5,
        int8_tops=85,
        bandwidth=204.8,
        source="Jetson AGX Orin 64 GB, its GPU without the DLAs: NVIDIA Jetson AGX Orin Series Modules Data Sheet, "
        "DS-10662-001 v1.6, table 1-3 (170 int8 TOPS with sparsity or 85 fp16 TFLOPS; 204.8 GB/s)",
        unsure="whether the 85 fp16 TFLOPS are with sparsity, and which sums they are of; taken as with it, because 16 "
        "SMs at 1.3 GHz with the A100's rate per SM make 42.6 without, and for both sums",
    ),
)
"""The GPUs that the roofline is printed for, in this order."""
