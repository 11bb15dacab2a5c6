"""Questions per second and tokens per second of `adamoe eval` and of Hugging Face transformers, in turn.

    python compare_transformers.py PROGRAM MODEL_FOLDER QUESTIONS.jsonl [--limit N] [--rounds R] [--threads T]
        [--dtype float32|bfloat16] [--kernel NAME]

QUESTIONS is in AI2's form. transformers runs as the evaluation harness runs it: every choice is a sequence of its own
(prompt and choice), sequences are sorted by length, longest first, and padded in batches; the log-softmax is taken of
the continuation's logits alone. float32 and bfloat16, and several batch sizes, are tried on a few questions; the fastest
is then timed in turn with the program, which loads and packs the model outside its timed part, as loading is outside
here. Both sides answer the same questions; predictions are compared.

A token that is processed counts once: for transformers all tokens of all choices without padding, for the program what
its JSON calls tokens_processed (a prompt counts once for all its choices). So tokens per second compare what the
machine does, questions per second what the user gets.

Needs torch and transformers; not needed to build or test the project.
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import torch
import transformers

BATCHES = (8, 16, 32)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def requests_of(tokenizer, questions):
    """(question, choice, ids, length of the prompt) of every choice."""
    requests = []
    for q, entry in enumerate(questions):
        text = f"Question: {entry['question']['stem']}\nAnswer:"
        prompt = len(tokenizer(text)["input_ids"])
        for c, choice in enumerate(entry["question"]["choices"]):
            requests.append((q, c, tokenizer(f"{text} {choice['text']}")["input_ids"], prompt))
    return sorted(requests, key=lambda request: -len(request[2]))


def run_batch(model, batch, scores):
    longest = max(len(ids) for _, _, ids, _ in batch) - 1
    inputs = torch.zeros((len(batch), longest), dtype=torch.long)
    mask = torch.zeros((len(batch), longest), dtype=torch.long)
    for row, (_, _, ids, _) in enumerate(batch):
        inputs[row, :len(ids) - 1] = torch.tensor(ids[:-1])
        mask[row, :len(ids) - 1] = 1
    logits = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits
    for row, (q, c, ids, prompt) in enumerate(batch):
        wanted = torch.tensor(ids[prompt:])
        logprobs = torch.log_softmax(logits[row, prompt - 1:len(ids) - 1].float(), dim=-1)
        scores[(q, c)] = logprobs.gather(1, wanted[:, None]).sum().item()


def run_transformers(model, requests, batch_size):
    """Seconds, tokens and the score of each choice."""
    scores = {}
    start = time.perf_counter()
    with torch.no_grad():
        for first in range(0, len(requests), batch_size):
            run_batch(model, requests[first:first + batch_size], scores)
    seconds = time.perf_counter() - start
    return seconds, sum(len(ids) - 1 for _, _, ids, _ in requests), scores


def predictions_of(scores):
    best = {}
    for (q, c), score in sorted(scores.items()):
        if q not in best or score > best[q][1]:
            best[q] = (c, score)
    return [best[q][0] for q in sorted(best)]


def run_program(arguments, folder):
    result, samples = os.path.join(folder, "r.json"), os.path.join(folder, "s.jsonl")
    subprocess.run([arguments.program, "eval", "--model", arguments.model, "--questions", arguments.questions, "--limit",
                    str(arguments.limit), "--threads", str(arguments.threads), "--json", result, "--samples", samples] +
                   (["--kernel", arguments.kernel] if arguments.kernel else []), check=True, stdout=subprocess.DEVNULL)
    with open(result, encoding="utf-8") as file:
        numbers = json.load(file)["adamoe"]
    with open(samples, encoding="utf-8") as file:
        predictions = [json.loads(line)["prediction"] for line in file]
    return numbers["seconds"], numbers["tokens_processed"], predictions


def choose(arguments, tokenizer, questions):
    """The fastest dtype on two questions, then the fastest batch size on eight."""
    models = {dtype: transformers.AutoModelForCausalLM.from_pretrained(arguments.model, torch_dtype=dtype).eval()
              for dtype in ([torch.float32, torch.bfloat16] if arguments.dtype is None else [DTYPES[arguments.dtype]])}

    def speed(dtype, count, batch):
        requests = requests_of(tokenizer, questions[:count])
        seconds, tokens, _ = run_transformers(models[dtype], requests, batch)
        print(f"trial: {str(dtype)[6:]}, batch {batch}: {tokens / seconds:.0f} tokens/s", flush=True)
        return tokens / seconds

    speed(next(iter(models)), 1, 8)  # the first call pays for what it sets up
    dtype = max(models, key=lambda dtype: speed(dtype, 2, 8))
    batch = max(BATCHES, key=lambda batch: speed(dtype, 8, batch))
    return dtype, batch, models[dtype]


def main():
    parser = argparse.ArgumentParser(description="adamoe eval against transformers, in turn.")
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, help="the only one to try: bfloat16 takes minutes where the processor "
                        "has no products of it")
    parser.add_argument("--kernel", help="of the program, for equal arithmetic (default: its fastest float32 one)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    with open(arguments.questions, encoding="utf-8") as file:
        questions = [json.loads(line) for line in file][:arguments.limit]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(arguments.model, "tokenizer.json"))
    dtype, batch, model = choose(arguments, tokenizer, questions)
    requests = requests_of(tokenizer, questions)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {arguments.threads} threads: "
          f"{str(dtype)[6:]}, batch {batch}")
    questions_ratio, tokens_ratio = [], []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            theirs, their_tokens, scores = run_transformers(model, requests, batch)
            ours, our_tokens, predictions = run_program(arguments, folder)
            questions_ratio.append(theirs / ours)
            tokens_ratio.append(our_tokens / ours / (their_tokens / theirs))
            print(f"transformers {len(questions) / theirs:6.2f} questions/s {their_tokens / theirs:7.1f} tokens/s   "
                  f"adamoe {len(questions) / ours:6.2f} questions/s {our_tokens / ours:7.1f} tokens/s", flush=True)
    differ = sum(a != b for a, b in zip(predictions_of(scores), predictions))
    print(f"adamoe over transformers, median of {arguments.rounds}: questions per second "
          f"{statistics.median(questions_ratio):.2f}, tokens per second {statistics.median(tokens_ratio):.2f}; "
          f"{differ} of {len(questions)} predictions differ")


if __name__ == "__main__":
    main()
