"""Makes gradient.safetensors in the folders of models whose attention has a bias of o or limits of q, k and v: the
derivatives that PyTorch gives for the attention of the first layer, through transformers' own model.

    python tests/golden/families/gradients.py        (packages as of make.py, which makes the folders)

The loss is the mean cross-entropy of the next token, over the sequences of expected.safetensors, in double but for what
transformers computes in float32 inside; no balance loss. Tensors: `loss` F32 [1], and under `gradient.` and the name of
a weight its gradient in float32.
"""
import os

import numpy
import safetensors.numpy
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ("llama_bias", "olmoe_clip", "granite_bias")


def main():
    for name in NAMES:
        folder = os.path.join(HERE, name)
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64,
                                                                  attn_implementation="eager",
                                                                  experts_implementation="eager")
        tokens = torch.from_numpy(safetensors.numpy.load_file(os.path.join(folder, "expected.safetensors"))["tokens"])
        logits = model(input_ids=tokens, use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()
        tensors = {"loss": loss.detach().reshape(1).numpy().astype(numpy.float32)}
        for weight, value in model.named_parameters():
            if weight.startswith("model.layers.0.self_attn."):
                tensors["gradient." + weight] = numpy.ascontiguousarray(value.grad.numpy().astype(numpy.float32))
        with open(os.path.join(folder, "gradient.safetensors"), "wb") as file:
            file.write(safetensors.numpy.save(tensors))
        print(f"{name}: loss {loss.item():.4f}, {len(tensors) - 1} gradients")


if __name__ == "__main__":
    main()
