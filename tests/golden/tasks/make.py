"""Makes questions in the data sets' own form for each task of datasets/tasks, and the evaluation harness's scores of them.

    pip install lm_eval accelerate torch transformers          (in a virtual environment outside the tree)
    python tests/golden/tasks/make.py [--count N] [--model DIR] [--out DIR]

The committed files, 14 questions of each task, were made with lm_eval 0.4.13, transformers 5.24.0 and PyTorch 2.15.0.
TASK.jsonl is what is asked. TASK.expected.jsonl is what the harness logged: a line a question with its requests, their
log-probabilities, and whether it is answered right, by acc and by acc_norm. The model is datasets/tiny-mixtral-top2 in float32, the harness's own
task descriptions are included as they are; only their data set is replaced by TASK.jsonl. acc_norm is asked for where a
description has acc alone.

The questions are made of WordNet's words, with what is awkward in each task among them: markup of WikiHow, capital
letters that are lowered, blanks at either end, characters beyond ASCII, endings that differ in length, sentences that
begin or end with the blank.
"""
import argparse
import json
import os
import random
import shutil
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.join(HERE, "..", "..", "..")
LETTERS = "ABCDE"
AWKWARD = ["", " ", "é", " naïve", "…", "  two", "“quoted”", " 日本", "\u00a0", "'s"]


def words():
    with open(os.path.join(ROOT, "datasets/wordnet/dev.jsonl"), encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    questions = [line["question"]["stem"] if isinstance(line["question"], dict) else line["question"] for line in lines]
    choices = [choice["text"] for line in lines for choice in line["question"]["choices"]]
    return questions, choices


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.questions, self.choices = words()

    def stem(self):
        return self.random.choice(self.questions) + self.random.choice(AWKWARD)

    def choice(self):
        text = self.random.choice(self.choices)
        if self.random.random() < 0.4:
            text += " or " + self.random.choice(self.choices)
        return text + self.random.choice(AWKWARD)

    def stated(self, i, stem):
        count = self.random.choice([4, 4, 4, 3, 5])
        labels = list(LETTERS[:count]) if i % 3 else [str(j + 1) for j in range(count)]
        return {"id": f"q{i}", stem: self.stem(), "choices": {"text": [self.choice() for _ in labels], "label": labels},
                "answerKey": self.random.choice(labels)}

    def arc_challenge(self, i):
        return self.stated(i, "question")

    def arc_easy(self, i):
        return self.stated(i, "question")

    def openbookqa(self, i):
        line = self.stated(i, "question_stem")
        line["answerKey"] = (" " if i % 5 == 0 else "") + line["answerKey"]
        return line

    def hellaswag(self, i):
        pick = self.random.choice
        tail = ["", "He Goes To NYC", "ÀÉ İstanbul", "ǆ and ß", "[header] Then", "the Dog"]
        endings = [pick(["", "[step] ", "[substeps] ", " "]) + self.choice() + pick(["", " [title] " + self.choice(), "  ",
                   " [step] x ] y [", ". [header]  Z"]) for _ in range(4)]
        return {"ind": i, "activity_label": pick(["Baking", "Home and Garden", "Élan [x]"]),
                "ctx_a": pick(["", "[header] How to bake [title] "]) + self.stem(), "ctx_b": tail[i % len(tail)],
                "ctx": "", "endings": endings, "source_id": "made", "split": "val", "split_type": "indomain",
                "label": str(self.random.randrange(4))}

    def piqa(self, i):
        return {"goal": self.stem(), "sol1": self.choice(), "sol2": self.choice(), "label": self.random.randrange(2)}

    def social_iqa(self, i):
        return {"context": self.stem(), "question": self.stem(), "answerA": self.choice(), "answerB": self.choice(),
                "answerC": self.choice(), "label": str(1 + self.random.randrange(3))}

    def winogrande(self, i):
        sentences = ["The {} is a kind of _ because it is {}.", "_ is what a {} and a {} have in common .",
                     "A {} is not a {}, said the _ , and _ left.", "Between {} and {} there is _ ; é…",
                     "She gave the {} to _  who had a {} \u00a0"]
        return {"qID": f"w{i}", "sentence": sentences[i % 5].format(self.random.choice(self.choices), self.choice()),
                "option1": self.choice(), "option2": self.random.choice(self.choices), "answer": str(1 + i % 2)}


TASKS = {"arc_challenge": "arc/arc_challenge.yaml", "arc_easy": "arc/arc_easy.yaml",
         "openbookqa": "openbookqa/openbookqa.yaml", "hellaswag": "hellaswag/hellaswag.yaml", "piqa": "piqa/piqa.yaml",
         "social_iqa": "siqa/siqa.yaml", "winogrande": "winogrande/default.yaml"}


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def describe(folder, task, path, lm_eval):
    """The harness's own description with another data set, as a file in a folder of its own."""
    own = os.path.join(os.path.dirname(lm_eval.__file__), "tasks", TASKS[task])
    with open(os.path.join(folder, f"here_{task}.yaml"), "w", encoding="utf-8") as file:
        file.write(f"include: {own}\ntask: here_{task}\ntag: null\ndataset_path: json\ndataset_name: null\n"
                   f"dataset_kwargs:\n  data_files:\n    validation: {path}\ntraining_split: null\ntest_split: null\n"
                   "validation_split: validation\nmetric_list:\n  - metric: acc\n  - metric: acc_norm\n")


def model_folder(folder, model):
    """With what AutoTokenizer wants beside tokenizer.json."""
    out = os.path.join(folder, "model")
    shutil.copytree(model, out, ignore=shutil.ignore_patterns("expected.safetensors"))
    if not os.path.exists(os.path.join(out, "tokenizer_config.json")):
        with open(os.path.join(out, "tokenizer_config.json"), "w", encoding="utf-8") as file:
            json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}, file)
    return out


def score(arguments, paths):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import lm_eval
    import lm_eval.tasks
    import torch
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(os.path.join(folder, "tasks"))
        for task, path in paths.items():
            describe(os.path.join(folder, "tasks"), task, path, lm_eval)
        manager = lm_eval.tasks.TaskManager(include_path=os.path.join(folder, "tasks"))
        return lm_eval.simple_evaluate(
            model="hf", model_args={"pretrained": model_folder(folder, arguments.model), "dtype": "float32"}, batch_size=1,
            device="cpu", tasks=[f"here_{task}" for task in paths], task_manager=manager, log_samples=True, bootstrap_iters=0)


def main():
    parser = argparse.ArgumentParser(description="Questions of each task, and the harness's scores of them.")
    parser.add_argument("--count", type=int, default=14)
    parser.add_argument("--model", default=os.path.join(ROOT, "datasets/tiny-mixtral-top2"))
    parser.add_argument("--out", default=HERE)
    arguments = parser.parse_args()

    paths = {}
    for number, task in enumerate(TASKS):
        maker = Maker(number + 1)
        paths[task] = os.path.abspath(os.path.join(arguments.out, f"{task}.jsonl"))
        write_lines(paths[task], [getattr(maker, task)(i) for i in range(arguments.count)])
    result = score(arguments, paths)
    for task in TASKS:
        samples = sorted(result["samples"][f"here_{task}"], key=lambda sample: sample["doc_id"])
        write_lines(os.path.join(arguments.out, f"{task}.expected.jsonl"),
                    [{"arguments": [list(request) for request in sample["arguments"]],
                      "logprob": [response[0] for response in sample["filtered_resps"]],
                      "acc": int(sample["acc"]), "acc_norm": int(sample["acc_norm"])} for sample in samples])
        print(task, {key: value for key, value in result["results"][f"here_{task}"].items() if "acc" in key})


if __name__ == "__main__":
    main()
