"""Takes words out of a small text encoder (``build_text_encoder``) that nobody says of an organ.

    python -m BiPVLSegLib.tools.trim_text_encoder ENCODER OUTPUT_FOLDER [WORD_LIST ...] [--dictionary FILE ...] [--positions N]

Names, years, scripts other than Latin and Greek, and pieces of words that no English word is spelt with go. What stays is stored
in the bytes that it had: texts that have none of these are read as before to the last bit, and a repository that has the old file
grows by little.

Word lists are files with texts of which every word stays readable as it was (concept tables, wordings); dictionaries have a word
per line (names begin with a capital letter and are passed over), for instance those of Debian's ``wamerican-huge`` and
``wbritish-large``. ``--without`` names a file of further words and pieces to take out; ``--fewest N`` takes out the pieces of
words (as "##shire") that fewer than N words of the dictionaries are spelt with. Without word lists and dictionaries all words
stay. ``--positions N`` takes out the positions after the Nth, so that texts may have N - 2 word pieces.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .build_text_encoder import read_words, save_vocabulary

SIGNS = "°±×µ²³½¼¾–—‘’“”•→≤≥≈∞′″"  # of measurement and punctuation
WORDS, POSITIONS = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight"


def kept_ids(vocabulary: Sequence[str], used: set[str]) -> list[int]:
    """Ids to keep, in the old order: ``used`` tokens, special tokens, letters, pieces and numbers of up to two characters."""
    keep = []
    for index, token in enumerate(vocabulary):
        piece = token.removeprefix("##")
        special = token.startswith("[") and token.endswith("]")
        short = piece.isascii() and len(piece) <= 2 and (piece != token or piece.isdigit())
        if special or short or token in used or is_letter(piece):
            keep.append(index)
    return keep


def is_letter(piece: str) -> bool:
    """Whether it is one character of ASCII, a Latin or Greek letter, or a sign."""
    ranges = (("\u00c0", "\u024f"), ("\u0370", "\u03ff"))
    return len(piece) == 1 and (piece.isascii() or piece in SIGNS or any(a <= piece <= b for a, b in ranges))


def read_dictionary(paths: Sequence[Path]) -> set[str]:
    """The lines that are words of lower-case letters: no names, no forms with an apostrophe."""
    lines = {line for path in paths for line in path.read_text(encoding="utf-8").split()}
    return {line for line in lines if re.fullmatch("[a-z]+", line)}


def trim(
    encoder: Path,
    output: Path,
    word_lists: Sequence[Path] = (),
    dictionaries: Sequence[Path] = (),
    without: Sequence[Path] = (),
    fewest: int = 1,
    positions: int | None = None,
) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    from ..model.compact import SCALE, SHAPE
    from ..model.text_encoder import load_tokenizer

    tokenizer = load_tokenizer(encoder)
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    keep = list(range(len(vocabulary)))
    if word_lists or dictionaries:
        spelt = Counter()
        for ids in tokenizer(sorted(read_dictionary(dictionaries)), add_special_tokens=False)["input_ids"]:
            spelt.update({vocabulary[index] for index in ids})
        used = {token for token, words in spelt.items() if words >= fewest or not token.startswith("##")}
        used |= set(tokenizer.tokenize(" ".join(sorted(read_words(list(word_lists))))))
        keep = kept_ids(vocabulary, used)
    gone = {token for path in without for token in path.read_text(encoding="utf-8").split()}
    keep = [index for index in keep if vocabulary[index] not in gone]
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    positions = min(positions or config["max_position_embeddings"], config["max_position_embeddings"])
    with safe_open(encoder / "model.safetensors", framework="pt") as opened:
        metadata, tensors = opened.metadata(), {key: opened.get_tensor(key) for key in opened.keys()}
    for table, rows in ((WORDS, keep), (POSITIONS, range(positions))):
        for key in (table, table + SCALE):
            tensors[key] = tensors[key][list(rows)].contiguous()
        tensors[table + SHAPE][0] = len(rows)
    output.mkdir(parents=True, exist_ok=True)
    save_file(tensors, output / "model.safetensors", metadata)
    config |= {"vocab_size": len(keep), "max_position_embeddings": positions}
    (output / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_vocabulary([vocabulary[index] for index in keep], output, positions)
    shutil.copy(encoder / "README.md", output)
    print(json.dumps({"vocabulary": len(keep), "of": len(vocabulary), "positions": positions}))


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("word_list", type=Path, nargs="*")
    parser.add_argument("--dictionary", type=Path, nargs="+", default=[])
    parser.add_argument("--without", type=Path, nargs="+", default=[])
    parser.add_argument("--fewest", type=int, default=1)
    parser.add_argument("--positions", type=int, metavar="N")
    return parser


if __name__ == "__main__":
    parser = build_parser()
    chosen = parser.parse_args()
    if not (chosen.encoder / "model.safetensors").is_file() or chosen.output.resolve() == chosen.encoder.resolve():
        parser.error("give the folder of a text encoder, and another one for the output")
    if chosen.positions is not None and chosen.positions < 3:
        parser.error("--positions: a text needs at least 3, for its beginning, a word piece and its end")
    words = chosen.word_list, chosen.dictionary, chosen.without, chosen.fewest
    trim(chosen.encoder, chosen.output, *words, chosen.positions)
