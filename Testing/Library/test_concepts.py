"""What a user relies on in concept sets: tables survive a round trip, errors find the fault, texts are true."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest
from tiny_concepts import KIDNEY, a_set

from BiPVLSegLib import paths
from BiPVLSegLib.concepts import (
    CONCEPT_FIELDS,
    Concept,
    ConceptSet,
    Terminology,
    bundled_concept_sets,
    fold_name,
    load_concepts,
    write_csv,
)
from BiPVLSegLib.errors import BiPVLError, ConceptError

KIDNEY_ENTRY = (
    "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
    "~SCT^64033007^Kidney~SCT^7771000^Left~Anatomic codes - DICOM master list~^^~^^"
)
BUNDLED = {
    "abdomen-ct": 15,
    "abdomen-mr": 15,
    "heart-ct": 7,
    "heart-mr": 7,
    "cine-mr": 3,
    "cardiac-mr": 4,
    "left-atrium-mr": 1,
    "brain-tumour-mr": 3,
    "brain-mr": 33,
}


# ---------------------------------------------------------------------------------------------- concepts and sets


@pytest.mark.parametrize("source", [["liver"], {"liver": "x"}, 5, None, "", "x" * 5000])
def test_what_is_no_table_is_refused_with_a_sentence(source):
    with pytest.raises(ConceptError, match="concept table|no concept set"):
        load_concepts(source)


def test_a_field_that_a_concept_has_not_is_refused_with_those_it_has():
    with pytest.raises(ConceptError, match="no 'shap'; it has: name, title, shape"):
        load_concepts("cine-mr").replace("left ventricle", shap="x")


def test_names_that_look_the_same_are_the_same():
    assert fold_name("Œsophage é") == fold_name("œsophage e\u0301 ") == fold_name("œsophage\u200b é")
    with pytest.raises(ConceptError, match="no name"):
        Concept("\u200f", "Title")


def test_texts_are_title_and_five_concepts_in_the_order_of_the_paper():
    concept = Concept("a", "T", shape="S", location="L", appearance="A", contour="C", texture="X")
    assert concept.texts == ("T", "S", "L", "A", "C", "X")
    assert CONCEPT_FIELDS == ("shape", "location", "appearance", "contour", "texture")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "  "}, "no name"),
        ({"title": " "}, "no text"),
        ({"color": (0, 0, 256)}, "0 to 255"),
        ({"color": (0, -1, 0)}, "0 to 255"),
        ({"color": (1, 2)}, "0 to 255"),
        ({"color": (0.5, 0, 0)}, "0 to 255"),
        ({"color": "#ff0000"}, "0 to 255"),
        ({"label": 0}, "1 or more"),
        ({"label": "3"}, "1 or more"),
        ({"shape": None}, "must be text"),
        ({"shape": "a\0b"}, "zero byte"),
        ({"shape": "a \ud83d"}, "half a character"),
        ({"enabled": "no"}, "True or False"),
        ({"terminology": "SCT^1^x"}, "Terminology"),
    ],
)
def test_a_wrong_concept_is_refused(changes, words):
    good = Concept("liver", "Liver in a CT image", color=(1, 2, 3), label=6)
    with pytest.raises(ConceptError, match=words):
        dataclasses.replace(good, **changes)


@pytest.mark.parametrize("names", [("liver", "LIVER"), ("left  kidney", "Left kidney "), ("a", "b", "a")])
def test_names_that_differ_in_case_or_spaces_only_are_duplicates(names):
    with pytest.raises(ConceptError, match="twice"):
        a_set(*names)


def test_an_empty_set_and_a_shared_label_are_refused():
    with pytest.raises(ConceptError, match="empty"):
        ConceptSet("none", ())
    with pytest.raises(ConceptError, match="'a' and 'b' have the same label, 4"):
        ConceptSet("x", (Concept("a", "A", label=4), Concept("b", "B", label=4)))
    assert len(ConceptSet("x", (Concept("a", "A", label=4), Concept("b", "B"), Concept("c", "C")))) == 3


def test_find_ignores_case_and_spaces_and_a_miss_lists_what_there_is():
    concepts = a_set("left kidney", "Liver")
    assert concepts.find(" Left   KIDNEY").name == "left kidney"
    with pytest.raises(ConceptError, match="no 'spleen'.*left kidney, Liver"):
        concepts.find("spleen")


def test_select_keeps_the_order_of_the_table_and_the_properties_of_the_set():
    concepts = a_set("a", "b", "c", nested=True, modality="MR")
    chosen = concepts.select(["C", "a", "c"])
    assert chosen.names == ("a", "c")
    assert chosen.nested and chosen.modality == "MR" and chosen.name == "mine"
    assert concepts.select("b").names == ("b",)
    with pytest.raises(ConceptError, match="a, b, c"):
        concepts.select(["a", "d"])
    with pytest.raises(ConceptError, match="a, b, c"):
        concepts.select([])


def test_enabled_leaves_out_what_is_switched_off():
    concepts = a_set("a", "b").replace("A", enabled=False)
    assert concepts.enabled().names == ("b",)
    with pytest.raises(ConceptError, match="switched off"):
        concepts.replace("b", enabled=False).enabled()


def test_replace_changes_one_field_of_one_concept_and_not_the_set_itself():
    concepts = a_set("a", "b")
    changed = concepts.replace("B", shape="Round.")
    assert [c.shape for c in changed] == ["", "Round."] and [c.shape for c in concepts] == ["", ""]
    assert changed.names == ("a", "b")
    with pytest.raises(ConceptError, match="twice"):
        concepts.replace("b", name="A")


def test_a_missing_colour_follows_from_the_name_alone():
    concepts = a_set("liver", "spleen", "aorta")
    colors = [concepts.color_of(concept) for concept in concepts]
    assert len(set(colors)) == 3 and all(0 <= part <= 255 for color in colors for part in color)
    assert a_set("Aorta ", "x").color_of("aorta") == colors[2]
    assert concepts.replace("liver", color=(1, 2, 3)).color_of("liver") == (1, 2, 3)
    # another process has another seed for hash(); the colour must not notice
    code = "from BiPVLSegLib.concepts import *;print(ConceptSet('x', (Concept('liver', 'Liver'),)).color_of('liver'))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": str(paths.resources_folder().parent)}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == str(colors[0])


# ------------------------------------------------------------------------------------------------- terminology


def test_terminology_reads_and_writes_the_entry_of_slicer():
    assert KIDNEY.to_entry() == KIDNEY_ENTRY
    assert Terminology.from_entry(KIDNEY_ENTRY) == KIDNEY
    assert Terminology.parse(KIDNEY.to_short()) == KIDNEY and KIDNEY.to_short().count("~") == 2
    without_side = dataclasses.replace(KIDNEY, type_modifier=None)
    assert without_side.to_entry().split("~")[3] == "^^"
    assert Terminology.from_entry(without_side.to_entry()) == without_side
    assert Terminology.parse("") is None


def test_terminology_of_another_list_with_a_region_survives():
    entry = (
        "Segmentation category and type - DICOM master list~SCT^49755003^Morphologically Altered Structure"
        "~SCT^4147007^Mass~^^~Anatomic codes - DICOM master list~SCT^23451007^Adrenal gland~SCT^24028007^Right"
    )
    terminology = Terminology.from_entry(entry)
    assert terminology.to_entry() == entry
    assert Terminology.parse(terminology.to_short()) == terminology
    assert terminology.region.meaning == "Adrenal gland" and terminology.region_modifier.meaning == "Right"


def test_slicerio_understands_the_entries():
    segmentation = pytest.importorskip("slicerio.segmentation")
    read = segmentation.terminology_entry_from_string(KIDNEY.to_entry())
    assert read["type"] == ["SCT", "64033007", "Kidney"] and read["typeModifier"] == ["SCT", "7771000", "Left"]
    assert segmentation.terminology_entry_to_string(read) == KIDNEY_ENTRY


@pytest.mark.parametrize(
    "text",
    [
        "kidney",
        "SCT^1^a",
        "SCT^1~SCT^2^b",
        "SCT^1^a~^^",
        "SCT^1^a~SCT^2^",
        "a~b~c~d",
        "SCT^1^a~SCT^2^b~SCT^3^c^d",
        "SCT^1^a|b~SCT^2^b",
    ],
)
def test_a_wrong_code_is_refused(text):
    with pytest.raises(ConceptError, match=r"scheme\^value\^meaning|category~type|category and a type"):
        Terminology.parse(text)


# -------------------------------------------------------------------------------------------------------- JSON


def test_json_round_trip_keeps_everything():
    concepts = ConceptSet(
        "mein Satz 心",
        (
            Concept("肝", 'Lives "here", 🫀', "a\nb", color=(0, 128, 255), terminology=KIDNEY, label=3),
            Concept("b", "B", enabled=False),
        ),
        modality="MR",
        description="d",
        nested=True,
    )
    assert ConceptSet.from_json(concepts.to_json()) == concepts
    assert json.loads(concepts.to_json())["version"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(version=2), "newer BiPVLSeg"),
        (lambda data: data.pop("version"), "no version"),
        (lambda data: data.pop("concepts"), "no list of concepts"),
        (lambda data: data["concepts"][1].update(color=[1, 2, 999]), "Concept 2.*0 to 255"),
        (lambda data: data["concepts"][1].update(terminology="x"), "Concept 2.*terminology"),
        (lambda data: data["concepts"][0].pop("name"), "Concept 1.*no name"),
        (lambda data: data["concepts"].append("x"), "Concept 3"),
        (lambda data: data["concepts"].clear(), "empty"),
    ],
)
def test_wrong_json_is_refused(change, words):
    data = json.loads(a_set("a", "b").to_json())
    change(data)
    with pytest.raises(ConceptError, match=words):
        ConceptSet.from_json(json.dumps(data))


def test_text_that_is_no_json_is_refused():
    for text in ("", "{", "[1]", "null"):
        with pytest.raises(ConceptError, match="not a concept set"):
            ConceptSet.from_json(text)


# ------------------------------------------------------------------------------------------------- bundled sets


def test_load_by_name_path_or_set(tmp_path):
    concepts = load_concepts(" Cine-MR")
    assert concepts.name == "cine-mr" and concepts.modality == "MR" and concepts.description
    assert load_concepts(concepts) is concepts
    path = tmp_path / "mein Satz.csv"
    write_csv(concepts, path)
    assert load_concepts(path).concepts == load_concepts(str(path)).concepts == concepts.concepts
    with pytest.raises(ConceptError, match="'cine-ct'.*abdomen-ct.*cardiac-mr.*cine-mr.*left-atrium-mr"):
        load_concepts("cine-ct")


def test_what_is_bundled():
    assert {name: len(load_concepts(name)) for name in bundled_concept_sets()} == BUNDLED
    assert {name for name in BUNDLED if load_concepts(name).nested} == {"brain-tumour-mr"}
    for name in BUNDLED:
        assert load_concepts(name).modality == name[-2:].upper()


def test_resources_inside_the_package_come_first(tmp_path, monkeypatch):
    package = tmp_path / "BiPVLSegLib"
    monkeypatch.setattr(paths, "_PACKAGE", package)
    with pytest.raises(BiPVLError, match="not installed completely"):
        paths.resources_folder()
    (tmp_path / "Resources").mkdir()
    assert paths.models_folder() == tmp_path / "Resources" / "Models"
    (package / "Resources").mkdir(parents=True)
    assert paths.concepts_folder() == package / "Resources" / "Concepts"


@pytest.fixture(params=sorted(BUNDLED))
def bundled(request) -> ConceptSet:
    return load_concepts(request.param)


def test_bundled_texts_are_complete_and_short(bundled):
    for concept in bundled:
        assert re.fullmatch(r"[A-Z0-9].* in an? .+ (CT|MR) image", concept.title), concept.title
        for field in CONCEPT_FIELDS:
            text = getattr(concept, field)
            assert 8 <= len(text.split()) <= 20, (concept.name, field, text)
            assert text[0].isupper() and text.endswith(".") and text.count(".") == 1, (concept.name, field, text)


def test_no_two_concepts_of_a_bundled_set_are_described_alike(bundled):
    for field in ("title", "location", "contour"):
        assert len({getattr(concept, field) for concept in bundled}) == len(bundled), field
    assert len({concept.texts[1:] for concept in bundled}) == len(bundled)


def test_left_and_right_are_told_apart_in_words_and_codes(bundled):
    for concept in bundled:
        for side in ("left", "right"):
            if side not in concept.name.split():
                continue
            sides = re.findall(r"\b(left|right)\b", concept.location.lower())
            assert sides and sides[0] == side, (concept.name, concept.location)
            if concept.terminology is not None:
                modifier = concept.terminology.type_modifier
                assert side == (modifier or concept.terminology.type).meaning.split()[0].lower(), concept.name


def test_bundled_colours_and_codes_are_well_formed(bundled):
    for concept in bundled:
        assert concept.color is not None
        if concept.terminology is not None:
            entry = concept.terminology.to_entry()
            assert Terminology.from_entry(entry) == concept.terminology
            for code in (concept.terminology.category, concept.terminology.type, concept.terminology.type_modifier):
                assert code is None or re.fullmatch(r"SCT\^\d{6,9}\^[A-Za-z, ]+", str(code)), str(code)


@pytest.mark.parametrize(
    ("set_name", "name", "code", "side", "color"),
    [
        ("abdomen-ct", "spleen", "78961009", None, (157, 108, 162)),
        ("abdomen-ct", "left kidney", "64033007", "7771000", (185, 102, 83)),
        ("abdomen-mr", "right kidney", "64033007", "24028007", (185, 102, 83)),
        ("abdomen-mr", "liver", "10200004", None, (221, 130, 101)),
        ("abdomen-ct", "right adrenal gland", "23451007", "24028007", (249, 186, 150)),
        ("abdomen-ct", "inferior vena cava", "64131007", None, (0, 151, 206)),
        ("heart-ct", "left ventricle", "87878005", None, (152, 55, 13)),
        ("cine-mr", "right ventricle", "53085002", None, (181, 85, 57)),
        ("heart-mr", "ascending aorta", "54247002", None, (224, 97, 76)),
        ("left-atrium-mr", "left atrium", "82471001", None, (203, 108, 81)),
        ("brain-mr", "left thalamus", "119406000", "7771000", (122, 101, 38)),
        ("brain-mr", "right hippocampus", "5366008", "24028007", (220, 216, 20)),
        ("brain-mr", "4th ventricle", "35918002", None, (88, 106, 215)),
    ],
)
def test_codes_and_colours_are_those_of_slicer(set_name, name, code, side, color):
    concept = load_concepts(set_name).find(name)
    assert (concept.terminology.type.scheme, concept.terminology.type.value) == ("SCT", code)
    modifier = concept.terminology.type_modifier
    assert (modifier.value if modifier else None) == side
    assert concept.color == color


def test_labels_are_those_of_the_reference_data():
    labels = {name: {c.name: c.label for c in load_concepts(name)} for name in BUNDLED}
    assert list(labels["abdomen-ct"].values()) == list(range(1, 16)) and labels["abdomen-ct"] == labels["abdomen-mr"]
    assert labels["abdomen-ct"]["right kidney"] == 2 and labels["abdomen-ct"]["left adrenal gland"] == 12
    assert (
        labels["heart-ct"]
        == labels["heart-mr"]
        == {
            "left ventricle": 500,
            "right ventricle": 600,
            "left atrium": 420,
            "right atrium": 550,
            "left ventricular myocardium": 205,
            "ascending aorta": 820,
            "pulmonary artery": 850,
        }
    )
    assert labels["cine-mr"] == {"right ventricle": 1, "left ventricular myocardium": 2, "left ventricle": 3}
    assert set(labels["brain-tumour-mr"].values()) == {None}  # nested regions are unions of the reference labels
    assert labels["brain-mr"]["left hippocampus"] == 17 and labels["brain-mr"]["right hippocampus"] == 53


@pytest.mark.parametrize(("folder", "set_name"), [("acdc", "cine-mr"), ("la", "left-atrium-mr")])
def test_names_and_labels_match_the_data_lists(shared_data, folder, set_name):
    labels = json.loads((shared_data / folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    ours = {str(concept.label): concept.name for concept in load_concepts(set_name)}
    assert {"0": "background", **ours} == labels


def test_brain_names_match_the_label_maps(shared_data):
    priors = json.loads((shared_data / "brain_label_maps" / "generation_priors.json").read_text(encoding="utf-8"))
    theirs = dict(zip(priors["synthseg_segmentation_labels"], priors["synthseg_segmentation_names"], strict=True))
    ours = {concept.label: concept.name for concept in load_concepts("brain-mr")}
    assert {label: name for label, name in ours.items() if label not in (24, 85)} == {
        label: name for label, name in theirs.items() if label != 0
    }
    assert {24, 85} <= set(priors["generation_labels"])
