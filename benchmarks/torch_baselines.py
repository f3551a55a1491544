"""The generator's export as a PyTorch module, node by node (torch_graph.py): eager, by torch.compile, in bf16."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from baselines import Floats
from exported_baselines import Exported

if TYPE_CHECKING:
    import onnx
    from generators import Generator


class PyTorch(Exported):
    def __init__(
        self, generator: Generator, export: onnx.ModelProto, *, compiled: bool = False, bf16: bool = False
    ) -> None:
        import torch
        from torch_graph import GraphModule

        super().__init__(generator)
        module: torch.nn.Module = GraphModule(export).eval()
        # what PyTorch's guide to CPU performance advises for convolutions
        module = module.to(memory_format=torch.channels_last)
        self._module: Callable[..., torch.Tensor] = torch.compile(module) if compiled else module
        self._bf16 = bf16

    def _infer(self, planes: Floats) -> Floats:
        import torch

        batch = torch.from_numpy(planes).to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bf16):
            result: Floats = np.asarray(self._module(batch).float().contiguous())
        return result
