"""What tiny_mixtral.py and tiny_llama.py share: random weights, and a model saved with the logits it gives.

A golden folder holds config.json and model.safetensors (float32) as transformers names them, and
expected.safetensors with `tokens` I64 [sequences, length] and `logits` F32 [sequences, length, vocabulary].

The logits come from the model converted to double. transformers still computes RMSNorm, the softmaxes and the
rotary angles in float32 inside; the distance to a run wholly in float32 is printed, and is below 1e-5.
"""
import copy
import os

import numpy
import safetensors.numpy
import torch


def randomise(model, seed, gate_gain=1.0):
    """Gaussian weights of deviation 1/sqrt(fan-in), so that logits are of order 1; norm weights around 1, so that
    a forgotten one shows. The router's rows are scaled by gate_gain, so that experts differ clearly."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in sorted(model.named_parameters()):
            values = torch.randn(weight.shape, generator=generator)
            if weight.dim() == 1:
                weight.copy_(1 + 0.3 * values)
            elif name.endswith("embed_tokens.weight"):
                weight.copy_(values / weight.shape[1] ** 0.5)
            else:
                gain = gate_gain if name.endswith("gate.weight") else 1.0
                weight.copy_(gain * values / weight.shape[1] ** 0.5)
    return model.eval()


def random_tokens(vocabulary, sequences, length, seed):
    return torch.randint(vocabulary, (sequences, length), generator=torch.Generator().manual_seed(seed))


def logits_of(model, tokens):
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits


def write_tensors(path, tensors):
    with open(path, "wb") as file:  # save_file would leave a file that only its owner can read
        file.write(safetensors.numpy.save(tensors, {"format": "pt"}))


def save(folder, model, tokens):
    """Writes the folder; returns the logits in double."""
    os.makedirs(folder, exist_ok=True)
    logits = logits_of(copy.deepcopy(model).double(), tokens)
    assert logits.dtype == torch.float64
    rounding = (logits - logits_of(model, tokens)).abs().max().item()
    assert rounding < 1e-5, rounding

    model.config.architectures = [type(model).__name__]
    model.config.torch_dtype = "float32"
    model.config.to_json_file(os.path.join(folder, "config.json"))
    tied = set(model._tied_weights_keys if model.config.tie_word_embeddings else [])
    weights = {name: weight.numpy() for name, weight in model.state_dict().items() if name not in tied}
    write_tensors(os.path.join(folder, "model.safetensors"), weights)
    expected = {"tokens": tokens.numpy(), "logits": logits.numpy().astype(numpy.float32)}
    write_tensors(os.path.join(folder, "expected.safetensors"), expected)

    bytes_written = sum(os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder))
    print(f"{os.path.basename(folder)}: {bytes_written} bytes, logits of deviation {logits.std():.2f}, "
          f"largest {logits.abs().max():.2f}, double against float32 {rounding:.1e}")
    return logits
