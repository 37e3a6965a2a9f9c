"""Makes the small random models of this folder and what transformers computes for them in float32.

    pip install torch transformers safetensors && python3 make.py
"""
import pathlib
import shutil

import torch
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

MODELS = {
    # Norms after the sums, embeddings narrower than the model, no last norm.
    "opt_post": (OPTForCausalLM, OPTConfig(
        vocab_size=23, hidden_size=16, word_embed_proj_dim=8, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=24, do_layer_norm_before=False, bos_token_id=1, eos_token_id=2, pad_token_id=None)),
    # The scale of deeper layers, an inner width of its own, an untied head.
    "gpt2_scaled": (GPT2LMHeadModel, GPT2Config(
        vocab_size=23, n_embd=16, n_inner=40, n_layer=3, n_head=2, n_positions=24, tie_word_embeddings=False,
        scale_attn_by_inverse_layer_idx=True, bos_token_id=1, eos_token_id=2)),
}

for name, (cls, config) in MODELS.items():
    torch.manual_seed(7)
    model = cls(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(torch.randn(tensor.shape) * (0.5 if tensor.ndim == 1 else tensor.shape[-1] ** -0.5))
        ids = torch.randint(3, 23, (2, 17))
        out = model(ids, output_hidden_states=True)
        prompt = ids[0, :5]
        greedy = model.generate(prompt[None], max_new_tokens=12, do_sample=False)[0, 5:]
    model.save_pretrained(name)
    save_file({
        "input_ids": ids, "logits": out.logits.contiguous(), "greedy_prompt": prompt.clone(),
        "greedy_ids": greedy.contiguous(),
        "hidden_states_0": out.hidden_states[0].contiguous(), "hidden_states_1": out.hidden_states[1].contiguous(),
    }, pathlib.Path(name) / "expected.safetensors")
shutil.rmtree("__pycache__", ignore_errors=True)
