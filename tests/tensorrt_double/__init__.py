"""TensorRT's engine and execution context, played by onnxruntime on the stand-in driver (tests/cuda_driver)."""

from .engine import ContextDouble, EngineDouble, Script, SourceDouble

__all__ = ["ContextDouble", "EngineDouble", "Script", "SourceDouble"]
