"""Writes rope.json beside it: inverse frequencies and attention factors as transformers computes them.

Run with transformers 5.18.0 and torch 2.13.0 (CPU): python make_rope_golden.py
"""

import json
import pathlib

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

BASE = {"hidden_size": 256, "num_attention_heads": 4, "max_position_embeddings": 4096}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 8192}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}

CASES = {
    "default, version 5": {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0}},
    "default, version 4": {"rope_theta": 500000.0, "rope_scaling": None},
    "default, silent": {},
    "head_dim 128": {"head_dim": 128, "rope_theta": 1000000.0},
    "linear, version 4": {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.5}},
    "linear, half of the head": {"partial_rotary_factor": 0.5,
                                 "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}},
    "llama3, version 5": {"head_dim": 128, "rope_parameters": {**LLAMA3, "rope_theta": 500000.0}},
    "llama3, version 4, factor 32": {"head_dim": 64, "rope_theta": 500000.0, "max_position_embeddings": 131072,
                                     "rope_scaling": {**LLAMA3, "factor": 32.0}},
    "yarn, version 4": {"head_dim": 128, "rope_theta": 1000000.0,
                        "rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}},
    "yarn, betas": {"rope_parameters": {**YARN, "rope_theta": 10000.0, "beta_fast": 16, "beta_slow": 2}},
    "yarn, mscale": {"rope_parameters": {**YARN, "factor": 40.0, "rope_theta": 10000.0, "mscale": 1.0,
                                         "mscale_all_dim": 0.707}},
    "yarn, attention factor": {"rope_parameters": {**YARN, "rope_theta": 10000.0, "attention_factor": 1.25}},
    "yarn, not truncated": {"rope_parameters": {**YARN, "rope_theta": 150000.0, "factor": 32.0,
                                                "original_max_position_embeddings": 4096, "truncate": False}},
    "yarn, silent context": {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "rope_theta": 10000.0}},
}


def golden(extra):
    config = {**BASE, **extra}
    c = LlamaConfig(**json.loads(json.dumps(config)))
    kind = c.rope_parameters["rope_type"]
    init = LlamaRotaryEmbedding.compute_default_rope_parameters if kind == "default" else ROPE_INIT_FUNCTIONS[kind]
    inv_freq, factor = init(c, "cpu")
    assert inv_freq.dtype == torch.float32
    return {"config": config, "inv_freq": inv_freq.tolist(), "attention_factor": float(factor)}


out = pathlib.Path(__file__).with_name("rope.json")
out.write_text(json.dumps([{"name": n, **golden(e)} for n, e in CASES.items()], indent=1) + "\n")
