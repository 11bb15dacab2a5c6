"""Questions per second and tokens per second of `adamoe eval` and of Hugging Face transformers, in turn.

    python compare_transformers.py PROGRAM MODEL_FOLDER QUESTIONS.jsonl [--limit N] [--rounds R] [--threads T]
        [--dtype float32|bfloat16] [--kernel NAME]

QUESTIONS is in AI2's form. transformers runs as the evaluation harness runs it: every choice is a sequence of its own
(prompt and choice), sequences are sorted by length, longest first, and padded in batches; the log-softmax is taken of
the continuation's logits alone. Both sides run in float32 and in bfloat16, all four in turn, and the better dtype of
each is compared: that of the least median time. Beforehand transformers tries its dtypes, and several batch sizes of
each, on a few questions; a dtype that has not half the speed of the other there is left out of the rounds, which is
printed. The program loads and packs the model outside its timed part, as loading is outside here. All answer the same
questions; predictions are compared.

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


def run_program(arguments, dtype, folder):
    """Seconds, tokens and the prediction of each question."""
    result, samples = os.path.join(folder, "r.json"), os.path.join(folder, "s.jsonl")
    kernel = ["--kernel", arguments.kernel] if arguments.kernel else ["--dtype", dtype]
    subprocess.run([arguments.program, "eval", "--model", arguments.model, "--questions", arguments.questions, "--limit",
                    str(arguments.limit), "--threads", str(arguments.threads), "--json", result, "--samples", samples] +
                   kernel, check=True, stdout=subprocess.DEVNULL)
    with open(result, encoding="utf-8") as file:
        numbers = json.load(file)["adamoe"]
    with open(samples, encoding="utf-8") as file:
        predictions = [json.loads(line)["prediction"] for line in file]
    return numbers["seconds"], numbers["tokens_processed"], predictions


def choose(models, tokenizer, questions):
    """dtype -> its fastest batch size on eight questions, without a dtype that is no match on two."""
    def speed(dtype, count, batch):
        requests = requests_of(tokenizer, questions[:count])
        seconds, tokens, _ = run_transformers(models[dtype], requests, batch)
        print(f"trial: transformers {dtype}, batch {batch}: {tokens / seconds:.0f} tokens/s", flush=True)
        return tokens / seconds

    speed(next(iter(models)), 1, 8)  # the first call pays for what it sets up
    speeds = {dtype: speed(dtype, 2, 8) for dtype in models}
    chosen = {}
    for dtype in models:
        if speeds[dtype] < max(speeds.values()) / 2:
            print(f"transformers {dtype}: less than half the speed of the other dtype, left out of the rounds")
        else:
            chosen[dtype] = max(BATCHES, key=lambda batch: speed(dtype, 8, batch))
    return chosen


def runners(arguments, models, tokenizer, questions):
    """(side, dtype) -> what runs it: all of them in this order, round after round."""
    requests = requests_of(tokenizer, questions)
    run = {}
    for dtype, batch in choose(models, tokenizer, questions).items():
        def theirs(_, dtype=dtype, batch=batch):
            seconds, tokens, scores = run_transformers(models[dtype], requests, batch)
            return seconds, tokens, predictions_of(scores)
        run["transformers", f"{dtype}, batch {batch}"] = theirs
    for dtype in [arguments.kernel] if arguments.kernel else models:
        run["adamoe", dtype] = lambda folder, dtype=dtype: run_program(arguments, dtype, folder)
    return run


def report(rounds, count):
    """The median of each, and the better dtype of ours over that of theirs, round by round."""
    best = {}
    for (side, dtype), results in rounds.items():
        seconds = statistics.median(result[0] for result in results)
        print(f"{side} {dtype}: median of {len(results)}: {count / seconds:.2f} questions/s, "
              f"{results[0][1] / seconds:.0f} tokens/s")
        if side not in best or seconds < best[side][0]:
            best[side] = (seconds, dtype, results)
    theirs, ours = best["transformers"][2], best["adamoe"][2]
    questions = [t[0] / o[0] for t, o in zip(theirs, ours)]
    tokens = [o[1] / o[0] / (t[1] / t[0]) for t, o in zip(theirs, ours)]
    differ = sum(a != b for a, b in zip(theirs[-1][2], ours[-1][2]))
    print(f"adamoe {best['adamoe'][1]} over transformers {best['transformers'][1]}, medians (least to most) of "
          f"{len(ours)} rounds: questions per second {statistics.median(questions):.2f} ({min(questions):.2f} to "
          f"{max(questions):.2f}), tokens per second {statistics.median(tokens):.2f} ({min(tokens):.2f} to "
          f"{max(tokens):.2f}); {differ} of {count} predictions differ")


def main():
    parser = argparse.ArgumentParser(description="adamoe eval against transformers, in turn.")
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("questions")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dtype", choices=DTYPES, help="the only one of both sides: to try bfloat16 takes minutes where "
                        "the processor has no products of it")
    parser.add_argument("--kernel", help="of the program, for equal arithmetic (default: its fastest of each dtype)")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, {arguments.threads} threads")
    with open(arguments.questions, encoding="utf-8") as file:
        questions = [json.loads(line) for line in file][:arguments.limit]
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(arguments.model, "tokenizer.json"))
    models = {dtype: transformers.AutoModelForCausalLM.from_pretrained(arguments.model, torch_dtype=DTYPES[dtype]).eval()
              for dtype in ([arguments.dtype] if arguments.dtype else DTYPES)}
    run = runners(arguments, models, tokenizer, questions)
    rounds = {key: [] for key in run}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for key, one in run.items():
                seconds, tokens, predictions = one(folder)
                rounds[key].append((seconds, tokens, predictions))
                print(f"{key[0]} {key[1]}: {len(questions) / seconds:.2f} questions/s {tokens / seconds:.1f} tokens/s",
                      flush=True)
    report(rounds, len(questions))


if __name__ == "__main__":
    main()
