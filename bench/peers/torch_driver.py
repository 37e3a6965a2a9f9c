"""PyTorch, and oneDNN inside it; Driver.java says what is asked and answered.

Kinds: int4 (groups of 128, _weight_int4pack_mm_for_cpu), bf16 (oneDNN), w8a8 (dynamic, engine onednn).
Models run in transformers, in bfloat16.
"""
import sys
import time

import torch

GROUP = 128


def weights(size):
    torch.manual_seed(1)
    return torch.randn(size, size) / size**0.5


def int4(size, layers):
    w = weights(size).view(size, size // GROUP, GROUP)
    scale = w.abs().amax(2, keepdim=True) / 7
    codes = (w / scale).round().clamp(-8, 7).to(torch.int32).view(size, size) + 8
    scales = torch.stack([scale.squeeze(2).t(), torch.zeros(size // GROUP, size)], 2)
    scales = scales.to(torch.bfloat16).contiguous()
    pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
    chain = [(pack(codes.contiguous(), 1), scales.clone()) for _ in range(layers)]
    run = torch.ops.aten._weight_int4pack_mm_for_cpu
    return [lambda x, w=w, s=s: run(x, w, GROUP, s) for w, s in chain], torch.bfloat16


def bf16(size, layers):
    one = weights(size).to(torch.bfloat16)
    chain = [one.clone() for _ in range(layers)]
    return [lambda x, w=w: torch.nn.functional.linear(x, w) for w in chain], torch.bfloat16


def w8a8(size, layers):
    from torch.ao.quantization import default_dynamic_qconfig

    torch.backends.quantized.engine = "onednn"
    chain = []
    w = weights(size)
    for _ in range(layers):
        layer = torch.nn.Linear(size, size, bias=False)
        layer.weight.data = w
        layer.qconfig = default_dynamic_qconfig
        chain.append(torch.ao.nn.quantized.dynamic.Linear.from_float(layer))
    return chain, torch.float32


KINDS = {"int4": int4, "bf16": bf16, "w8a8": w8a8}


class Driver:
    def __init__(self):
        self.linears = {}
        self.model = None

    def linear(self, name, kind, size, m, layers, threads):
        torch.set_num_threads(threads)
        chain, dtype = KINDS[kind](size, layers)
        x = torch.randn(m, size).to(dtype)

        def run():
            y = x
            for layer in chain:
                y = layer(y)

        start = time.perf_counter()
        while time.perf_counter() - start < 0.5:
            run()
        self.linears[name] = (run, layers)
        return 0

    def sample(self, name):
        run, layers = self.linears[name]
        seconds = []
        while sum(seconds) < 0.06:
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
        seconds = sorted(seconds[1:] or seconds)
        return seconds[len(seconds) // 2] / layers

    def load(self, path, threads):
        import transformers

        torch.set_num_threads(threads)
        start = time.perf_counter()
        self.model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
        self.cache = None
        self.add([1])
        return time.perf_counter() - start

    def add(self, tokens):
        out = self.model(torch.tensor([tokens]), past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        self.cache = out.past_key_values

    def timed(self, tokens, step):
        vocabulary = self.model.config.vocab_size
        tokens = [3 + i * 37 % (vocabulary - 3) for i in range(tokens)]
        self.cache = None
        start = time.perf_counter()
        for at in range(0, len(tokens), step):
            self.add(tokens[at : at + step])
        return time.perf_counter() - start

    def answer(self, words):
        if words[0] == "linear":
            return self.linear(words[1], words[2], *map(int, words[3:]))
        if words[0] == "sample":
            return self.sample(words[1])
        if words[0] == "model":
            return self.load(words[1], int(words[2]))
        if words[0] == "prefill":
            return self.timed(int(words[1]), 1 << 20)
        if words[0] == "decode":
            return self.timed(int(words[1]), 1)
        raise ValueError("unknown word " + words[0])


def main():
    driver = Driver()
    with torch.inference_mode():
        for line in sys.stdin:
            try:
                answer = f"ok {driver.answer(line.split())}"
            except Exception as error:  # a build of it may lack anything
                answer = "no " + " ".join(str(error).split())
            print("> " + answer, flush=True)


if __name__ == "__main__":
    main()
