"""The log-probability of every choice of an ARC question, by transformers: an oracle for `adamoe eval --samples`.

    python arc_logprobs_transformers.py MODEL QUESTIONS.jsonl OUT.jsonl [--limit N]

MODEL is a GGUF file or a folder; transformers_model.py says how it is loaded, and which packages are needed.
QUESTIONS is in AI2's form. OUT gets a line for each question: id, logprob (an array, one for each choice),
prediction, gold; it appears whole or not at all.

Scoring is that of the evaluation harness's arc_challenge, version 1.0, without few-shot examples, and is done the
plain way: each choice is a run of its own over the whole text, in float32; only the softmax of the logits is in
double. Ties go to the first choice. No special tokens.
"""
import argparse
import json
import os
import time

import torch

import transformers_model


def read_questions(path, limit):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file][:limit]


def choice_logprob(model, prompt, whole):
    """`prompt` and `whole` are ids, the first of the prompt alone, the second of prompt and continuation together:
    the continuation is what stands beyond the length of the first. Too long: the last context + 1 ids stay."""
    continuation = whole[len(prompt):]
    inputs = whole[-(model.config.max_position_embeddings + 1):][:-1]
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([inputs]), use_cache=False).logits[0]
    logprobs = torch.log_softmax(logits[len(inputs) - len(continuation):].double(), dim=-1)
    return sum(logprobs[i, token].item() for i, token in enumerate(continuation))


def score(model, tokenizer, entry):
    question = entry["question"]
    text = f"Question: {question['stem']}\nAnswer:"
    prompt = transformers_model.encode(tokenizer, text)
    logprobs = [choice_logprob(model, prompt, transformers_model.encode(tokenizer, f"{text} {choice['text']}"))
                for choice in question["choices"]]
    return {"id": entry["id"], "logprob": logprobs, "prediction": logprobs.index(max(logprobs)),
            "gold": [choice["label"] for choice in question["choices"]].index(entry["answerKey"])}


def write_lines(path, lines):
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description="Log-probabilities of ARC's choices, by transformers.")
    parser.add_argument("model", metavar="MODEL", help="a GGUF file or a Hugging Face folder")
    parser.add_argument("questions", metavar="QUESTIONS.jsonl")
    parser.add_argument("out", metavar="OUT.jsonl")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N questions")
    arguments = parser.parse_args()

    questions = read_questions(arguments.questions, arguments.limit)
    model = transformers_model.load_model(arguments.model)
    tokenizer = transformers_model.load_tokenizer(arguments.model)
    start = time.monotonic()
    lines = [score(model, tokenizer, entry) for entry in questions]
    seconds = time.monotonic() - start
    write_lines(arguments.out, lines)

    right = sum(line["prediction"] == line["gold"] for line in lines)
    choices = sum(len(line["logprob"]) for line in lines)
    print(f"{len(lines)} questions, {choices} choices, {right} right, {seconds:.0f} seconds on "
          f"{torch.get_num_threads()} thread(s)")


if __name__ == "__main__":
    main()
