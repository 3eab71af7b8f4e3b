"""Labels of features: where they hold, and what a broken file is told."""

import pytest

from tracer.errors import DictionaryError
from tracer.labels import Labels

HEADER = "layer,index,where,text,concept,min_activation,precision,recall,f1,n,note"


def write(folder, *rows, header=HEADER):
    (folder / "labels.csv").write_text("\n".join((header, *rows)) + "\n")
    return folder


def test_a_label_says_what_it_means_and_how_well_that_was_measured(tmp_path):
    write(tmp_path, '1,7,earlier,Texas,region,2.5,0.99,0.97,0.98,212,"fires on Texas cities, in training prompts"')
    label = Labels.read(tmp_path).of(1, 7, last=False, activation=3.0)
    assert label == ("Texas", "fires on Texas cities, in training prompts; F1 0.98, precision 0.99, recall 0.97, n=212")


def test_a_label_holds_only_where_and_how_strongly_it_was_measured(tmp_path):
    labels = Labels.read(write(tmp_path, "1,7,last,Texas,region,2.5,,,,,", "1,7,earlier,say a city,,0,,,,,"))
    assert labels.of(1, 7, last=True, activation=2.5) == ("Texas", "")
    assert labels.of(1, 7, last=True, activation=2.4) == ("", "")
    assert labels.of(1, 7, last=False, activation=0.1) == ("say a city", "")
    assert labels.of(0, 7, last=True, activation=9.0) == ("", "")


def test_texts_that_look_like_missing_values_are_texts(tmp_path):
    """`NA` is Namibia's domain, `nan` a bread, `007` a number to call."""
    labels = Labels.read(write(tmp_path, "0,1,last,NA,,0,,,,,", "0,2,last,nan,,0,,,,,", "0,3,last,007,,0,,,,,"))
    assert [labels.of(0, i, last=True, activation=1)[0] for i in (1, 2, 3)] == ["NA", "nan", "007"]


def test_a_dictionary_without_labels_has_none(tmp_path):
    assert Labels.read(tmp_path).of(0, 0, last=True, activation=1.0) == ("", "")


def test_optional_columns_may_be_missing(tmp_path):
    labels = Labels.read(write(tmp_path, "0,1,last,Texas", header="layer,index,where,text"))
    assert labels.of(0, 1, last=True, activation=0.1) == ("Texas", "")


def test_a_missing_column_is_named(tmp_path):
    with pytest.raises(DictionaryError, match=r"labels\.csv lacks the column 'where'; expected layer, index, where"):
        Labels.read(write(tmp_path, "0,1,Texas", header="layer,index,text"))


def test_another_place_than_last_and_earlier_is_refused(tmp_path):
    with pytest.raises(DictionaryError, match="where is 'middle'; expected last or earlier"):
        Labels.read(write(tmp_path, "0,1,middle,Texas,,,,,,,"))


def test_a_layer_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(DictionaryError, match=r"labels\.csv cannot be read \(.*'one'"):
        Labels.read(write(tmp_path, "one,1,last,Texas,,,,,,,"))


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "labels.csv").write_text("")
    with pytest.raises(DictionaryError, match=r"labels\.csv cannot be read"):
        Labels.read(tmp_path)
