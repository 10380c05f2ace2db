"""Writes the reference files of the tests with Hugging Face's own library.

Made with safetensors 0.8.0, numpy and ml_dtypes; run as: python make.py
"""
import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

rng = np.random.default_rng(7)
tensors = {
    "model.embed_tokens.weight": rng.standard_normal((5, 4)).astype(np.float32),
    "model.norm.weight": rng.standard_normal(4).astype(np.float16),
    "b16": rng.standard_normal((2, 3)).astype(ml_dtypes.bfloat16),
    "f64": rng.standard_normal((3,)).astype(np.float64),
    "ids": np.arange(6, dtype=np.int64).reshape(2, 3),
    "flags": np.array([True, False, True]),
    "u8": np.arange(7, dtype=np.uint8),
    "scalar": np.array(1.5, dtype=np.float32),
    "empty": np.zeros((0, 4), dtype=np.float32),
    "naïve \"name\"": np.ones(1, dtype=np.int32),
}
save_file(tensors, "reference.safetensors", metadata={"format": "pt"})
