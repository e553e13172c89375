"""English inflection, undone."""

import re

_PLURALS = (
    ("sses", "ss"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ss", "ss"),
    ("us", "us"),
    ("is", "is"),
    ("s", ""),
)
_VOWEL = re.compile("[aeiouy]")
_SHORT = re.compile(r"(?:qu|[^aeiou])*[aeiouy][^aeiouwxy]")  # hop: one vowel, then one consonant


def stem(word: str) -> str:
    """Undo English inflection: plurals, -ed, -ing and a silent e, after steps 1 and 5 of Porter (1980).

    Derivation (-ness, -able) stays: what matters here is that two words that mean different things seldom
    meet, more than that all forms of one do.

    Args:
        word: in lower case. Words of up to three letters or with anything but letters come back as they are.
    """
    if len(word) <= 3 or not word.isalpha():
        return word
    if word.endswith(("ies", "ied")):
        return word[:-3] + "y" if len(word) > 4 else word[:-1]
    for ending, replacement in _PLURALS:
        if word.endswith(ending):
            word = word.removesuffix(ending) + replacement
            break
    for ending in ("ing", "ed"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and not root.endswith("e") and _VOWEL.search(root):
            return _mend(root)
    return word[:-1] if len(word) >= 6 and word.endswith("e") else word


def _mend(root: str) -> str:
    """Restore the spelling of a root's bare form: plann -> plan, mak -> make."""
    if root[-1] == root[-2] and root[-1] not in "lsz":
        return root[:-1]
    return root + "e" if len(root) <= 4 and _SHORT.fullmatch(root) else root
