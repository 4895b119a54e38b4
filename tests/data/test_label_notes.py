"""What the names of classes tell: one warning each, none for plain names."""

from __future__ import annotations

import pytest

from encoderlab.data.suspects import label_notes


@pytest.mark.parametrize(
    "labels, said",
    [
        (["nan", "pos", "None"], "'nan' (1 rows), 'None' (1 rows) in column 'label' are classes here"),
        (["-1", "0", "1"], "'-1' (1 of 3 rows) in column 'label' is a class, as '0' is"),
        (["true", "1", "0"], "'true', '1', '0' in column 'label' are different classes"),
        (
            ["0.5", "1", "1.5"],
            "numbers with decimals, such as '0.5'; to predict a number, set task.kind = \"regression\"",
        ),
        (["pos", "Pos"], "'pos' and 'Pos' in column 'label' are different classes"),
        (["pos", "POS", "neg", "Neg"], "'pos' and 'POS'; 'neg' and 'Neg' in column 'label' are different classes"),
        (["very good", "very  good"], "'very good' and 'very  good'"),
        (["pos", "pos\u200b"], r"'pos' and 'pos\u200b'"),
        (["caf\u00e9", "cafe\u0301"], r"'caf\xe9' and 'cafe\u0301'".replace(r"'caf\xe9'", "'caf\u00e9'")),
        (["yes", "\uff59es"], r"'yes' and '\uff59es'"),
        (["pos", "#N/A", "#REF!"], "'#N/A' (1 rows), '#REF!' (1 rows) in column 'label' are classes"),
        (["pos", "neg", "\\N"], "in column 'label' is a class here"),
        (["0,5", "1", "1,5"], "numbers with decimals, such as '0,5'"),
        (["2024-01-02", "2024-01-03"], "the 2 classes of column 'label' are dates, such as '2024-01-02'"),
        (["1/2/24", "31/12/2024"], "are dates"),
        ([f"intent {i % 12}" for i in range(30)], "has 12 classes for 30 rows, such as 'intent 0': too few rows"),
        ([str(i % 12) for i in range(30)], 'To predict a number, set task.kind = "regression"'),
        ([f"intent {i % 12}" for i in range(36)], None),
        (["10%", "20 %", "5"], "the 3 classes of column 'label' are shares, such as '10%'"),
        (["yes", "1", "0"], "'yes', '1', '0' in column 'label' are different classes"),
        (["yes", "No", "true"], "'true', 'yes', 'No' in column 'label' are different classes"),
        (["pos", "neg", "?"], "'?' (1 rows) in column 'label' is a class here"),
        (["pos", "neg", "-"], "'-' (1 rows) in column 'label' is a class here"),
        (["pos", "neg", "Unknown"], "'Unknown' (1 rows) in column 'label' is a class here"),
        (["+1", "1", "-2"], "'+1' and '1' in column 'label' are different classes"),
        (["\u22121", "-1", "1"], "'\u22121' and '-1'"),
        (["'pos'", "pos", "neg"], "\"'pos'\" and 'pos'"),
        (["pos.", "pos", "neg"], "'pos.' and 'pos'"),
        (["2,10", "27", "3"], "several labels per row (multi-label) are not supported"),
        (["2,10,14", "27", "3"], "'2,10,14' in column 'label' looks like 3 labels in one cell (1 such rows)"),
        (["2 10", "27", "3"], "'2 10' in column 'label' looks like 2 labels in one cell"),
        (["neg|x", "pos"], "'neg|x' in column 'label' looks like 2 labels in one cell"),
        (["neg;x", "pos", "neg; x; y"], "'neg;x' in column 'label' looks like 2 labels in one cell (2 such rows"),
        (["joy, fear", "joy", "fear"], "'joy, fear' in column 'label' looks like 2 labels in one cell"),
        (["joy,fear", "joy,anger", "fear,anger", "love"], "'joy,fear' in column 'label' looks like 2 labels"),
        (["joy+fear", "joy", "fear"], "'joy+fear' in column 'label' looks like 2 labels"),
        (["a/x", "a/y", "b/x", "b/y"], None),
        (["Paris, France", "Lyon, France", "Rome"], None),
        (["1/2", "half", "whole"], None),
        (["very good", "good", "bad"], None),
        (["a|b", "c|d"], None),
        (["+", "-"], None),
        (["?", "!", "."], None),
        (["-1", "1"], None),
        (["-2", "-1", "0", "1"], None),
        (["true", "false"], None),
        (["1", "2", "10"], None),
        (["v1.5", "2"], None),
    ],
)
def test_labels_that_look_like_a_mistake(labels: list[str], said: str | None) -> None:
    notes = label_notes(labels, "label")
    assert notes == [] if said is None else len(notes) == 1 and said in notes[0]


@pytest.mark.parametrize(
    "labels", [["$.", "$,", "$(", "NN"], ["Case=Nom", "Case=Nom|Number=Sing"], ["``", "''", ",", "."]]
)
def test_labels_of_words_are_plain(labels: list[str]) -> None:
    assert label_notes(labels, "labels", words=True) == []
