"""Zones, and the files they are written in: what is right is read, what is wrong is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solo_rt.documents import MOST_BYTES
from solo_rt.errors import UsageError
from solo_rt.pipeline import Options
from solo_rt.track.zone_file import read_zones
from solo_rt.track.zones import MOST_POINTS, MOST_ZONES, Zone, check_classes, check_sources, zones_of

TRIANGLE = ((0.1, 0.1), (0.9, 0.1), (0.5, 0.9))
GOOD = """
size = [1920, 1080]

[[zone]]
name = "door"
polygon = [[0, 0], [960, 0], [960, 1080], [0, 1080]]
classes = ["person", "dog"]
source = "cam0"
anchor = "mask"
dwell = 2.5

[[line]]
name = "gate"
points = [[0.25, 0.5], [0.75, 0.5], [0.75, 1]]
size = [1, 1]
"""


def written(folder: Path, text: str, name: str = "street.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def zone_text(**values: object) -> str:
    """Return a file of one zone called door with these values, in JSON, which is TOML's for single values."""
    entry = {"name": "door", "polygon": [[0, 0], [1, 0], [0, 1]], **values}
    lines = (f"{key} = {json.dumps(value)}" for key, value in entry.items() if value is not None)
    return "\n".join(["[[zone]]", *lines])


def refusal(folder: Path, text: str, name: str = "street.toml") -> str:
    """Return what is said of a file, without its folder."""
    with pytest.raises(UsageError) as refused:
        Options(zones=read_zones(written(folder, text, name)))
    message = str(refused.value)
    assert "\n" not in message
    assert len(message) < 400
    return message.replace(f"{folder}/", "")


def test_zones_and_lines_are_read_with_all_that_is_said_of_them(tmp_path):
    door, gate = read_zones(written(tmp_path, GOOD))
    corners = ((0, 0), (960, 0), (960, 1080), (0, 1080))
    assert door == Zone("door", corners, False, (1920, 1080), ("person", "dog"), "cam0", "mask", 2.5)
    assert gate == Zone("gate", ((0.25, 0.5), (0.75, 0.5), (0.75, 1.0)), True, (1, 1))
    assert (gate.anchor, gate.dwell, gate.source, gate.classes) == ("bottom", None, "", ())
    assert door.shown == f"{tmp_path}/street.toml: zone 1 (door)"
    assert Zone("door", TRIANGLE).shown == "zone door"


def test_the_file_in_the_docs_is_one(tmp_path):
    page = Path(__file__).parents[1] / "docs" / "zones.md"
    crossing, gate = read_zones(written(tmp_path, page.read_text().split("```toml\n")[1].split("```")[0]))
    assert (crossing.name, crossing.dwell, gate.name, gate.is_line) == ("crossing", 30, "gate", True)


def test_json_says_the_same(tmp_path):
    document = {
        "zone": [{"name": "a", "polygon": [[0, 0], [1, 0], [0, 1]], "dwell": 1}],
        "line": [{"name": "b", "points": [[0, 0], [1, 1]]}],
    }
    read = read_zones(written(tmp_path, json.dumps(document), "street.JSON"))
    assert read == (Zone("a", ((0, 0), (1, 0), (0, 1)), dwell=1.0), Zone("b", ((0, 0), (1, 1)), is_line=True))


@pytest.mark.parametrize("size", [None, (1920, 1080)])
def test_points_stretch_with_frames_of_any_size(size):
    width, height = size or (1, 1)
    zone = Zone("z", ((0, 0), (width, height / 2), (width / 4, height)), size=size)
    np.testing.assert_allclose(zone.points_on((480, 640)), [(0, 0), (640, 240), (160, 480)])


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"polygon": [[0, 0], [1, 1]]}, "expected 3 to 100 corners, got 2"),
        ({"polygon": [[0, 0]] * (MOST_POINTS + 1)}, "expected 3 to 100 corners, got 101"),
        ({"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}, "sides 1 and 3 cross or touch; give the corners in order"),
        ({"polygon": [[0, 0], [0.5, 0.5], [1, 1.0]]}, "sides 1 and 3 cross or touch"),
        ({"polygon": [[0, 0], [1, 0], [0.5, 0.000001]]}, "it has no area; its corners are as good as on a line"),
        ({"polygon": [[0, 0], [1, 0], [0, 1]], "size": [1920, 1080]}, "it has no area"),
        ({"size": [65536, 1]}, "expected size = [width, height] in pixels, got [65536, 1]"),
        ({"polygon": [[0, 0], [1.5, 0], [0, 1]]},
         "point 2 is not in the picture: expected x in 0..1 and y in 0..1, got [1.5, 0]; "
         "pixels need size = [width, height]"),
        ({"polygon": [[0, 0], [640, 0], [0, 361]], "size": [640, 360]},
         "point 3 is not in the picture: expected x in 0..640 and y in 0..360, got [0, 361]"),
        ({"polygon": [[0, 0], [1, 0], [0, -0.1]]}, "point 3 is not in the picture"),
        ({"polygon": [[0, 0], [1, 0], [0, float("nan")]]}, "point 3 is not in the picture"),
        ({"polygon": [[0, 0], [1, 0], [float("inf"), 1]]}, "point 3 is not in the picture"),
        ({"polygon": [[0, 0], [1, 0], [1, 0], [0, 1]]}, "points 2 and 3 are the same, [1, 0]; leave one of them out"),
        ({"polygon": [[0, 0], [1, 0], [0, 1], [0, 0]]}, "points 4 and 1 are the same, [0, 0]; leave one of them out"),
        ({"polygon": [[0, 0], [1, 0], [0, True]]}, "expected point 3 as numbers, got True"),
        ({"polygon": [[0, 0], [1, 0], [0, "1"]]}, "expected point 3 as numbers, got '1'"),
        ({"polygon": [[0, 0], [1, 0], [0, 1, 2]]}, "expected point 3 as two numbers, got [0, 1, 2]"),
        ({"polygon": [[0, 0], 1]}, "expected point 2 as two numbers, got 1"),
        ({"polygon": "all"}, "expected polygon as a list of points, [[x, y], ...], got 'all'"),
        ({"polygon": None}, "expected polygon as a list of points, [[x, y], ...], got nothing"),
        ({"polgon": []}, "unknown key 'polgon'; did you mean polygon?"),
        ({"colour": 1}, "unknown key 'colour'; known are name, size, classes, source, anchor, polygon, dwell"),
        ({"points": []}, "unknown key 'points'"),
        ({"classes": "person"}, "expected classes as a list of names, got 'person'"),
        ({"classes": ["person", 1]}, "expected classes as a list of names, got ['person', 1]"),
        ({"source": 0}, "expected source as text, got 0"),
        ({"anchor": "top"}, "expected the anchor bottom, centre or mask, got 'top'"),
        ({"anchor": 7}, "expected anchor as text, got 7"),
        ({"dwell": 0}, "expected dwell as seconds above 0, got 0.0"),
        ({"dwell": float("nan")}, "expected dwell as seconds above 0, got nan"),
        ({"dwell": float("inf")}, "expected dwell as seconds above 0, got inf"),
        ({"dwell": "3s"}, "expected dwell as numbers, got '3s'"),
        ({"size": [640]}, "expected size as two numbers, got [640]"),
        ({"size": [640.5, 360]}, "expected size as [width, height] in pixels, got [640.5, 360]"),
        ({"size": [640, 0]}, "expected size = [width, height] in pixels, got [640, 0]"),
        ({"size": [float("inf"), 1]}, "expected size as [width, height] in pixels, got [inf, 1]"),
        ({"size": [1e9, 1]}, "expected size = [width, height] in pixels, got [1000000000, 1]"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_zone_is_said_with_its_file_number_and_name(tmp_path, values, said):
    text = zone_text(**values).replace("NaN", "nan").replace("Infinity", "inf")
    assert refusal(tmp_path, text).startswith(f"street.toml: zone 1 (door): {said}")
    entry = {"name": "door", "polygon": [[0, 0], [1, 0], [0, 1]], **values}
    as_json = json.dumps({"zone": [{key: value for key, value in entry.items() if value is not None}]})
    assert refusal(tmp_path, as_json, "street.json").startswith(f"street.json: zone 1 (door): {said}")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (None, "street.toml: zone 1: expected a name of 1 to 40 letters, got ''"),
        (5, "street.toml: zone 1: expected name as text, got 5"),
        ("x" * 41, "expected a name of 1 to 40 letters"),
        ("  ", "expected a name of 1 to 40 letters, got '  '"),
        ("a\nb", "expected a name of 1 to 40 letters, got 'a\\nb'"),
    ],
)
def test_a_zone_needs_a_name_that_can_be_shown(tmp_path, name, said):
    assert said in refusal(tmp_path, zone_text(name=name))


def test_names_of_forty_letters_and_corners_against_the_clock_are_no_trouble(tmp_path):
    (zone,) = read_zones(written(tmp_path, zone_text(name="ü" * 40, polygon=[[0, 1], [1, 0], [0, 0]])))
    assert zone.name == "ü" * 40


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "street.toml: expected a [[zone]] or a [[line]], found none"),
        ("zone = []", "street.toml: expected a [[zone]] or a [[line]], found none"),
        ("[zone]\nname = 'x'", "street.toml: expected zone as a list of tables, [[zone]] in TOML"),
        ("line = [1]", "street.toml: expected line as a list of tables, [[line]] in TOML"),
        ("[[zones]]", "street.toml: unknown key 'zones'; did you mean zone?"),
        ("units = 'pixels'", "street.toml: unknown key 'units'; known are zone, line, size"),
        ("[[zone]", "zone file street.toml: expected TOML, got "),
        ("a = '\ud800'.".encode("utf-8", "surrogatepass").decode("latin-1"), "zone file street.toml: expected TOML"),
        ("#" * (MOST_BYTES + 1), "zone file street.toml: expected TOML, got more than 1 MB"),
        ("[[line]]\nname = 'x'\npoints = [[0, 0], [1, 1]]\ndwell = 3", "street.toml: line 1 (x): unknown key 'dwell'"),
        ("[[line]]\nname = 'x'\npoints = [[0, 0]]", "street.toml: line 1 (x): expected 2 to 100 points, got 1"),
        ("[[line]]\nname = 'x'\npoints = [[0, 0], [0, 0]]", "line 1 (x): points 1 and 2 are the same"),
        ("[[line]]\nname = 'x'\npoints = [[0, 0], [1, 1], [1, 0], [0, 1]]", "line 1 (x): sides 1 and 3 cross or touch"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, text, said):
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize("text", ["[", "[" * 100_000, "5", "null", '{"zone": [], "zone": []}', '{"zone": 1e999}'])
def test_json_that_is_none_or_no_zones_is_one_line(tmp_path, text):
    assert "street.json: expected " in refusal(tmp_path, text, "street.json")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read the zone file '.*none.toml': No such file"):
        read_zones(tmp_path / "none.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(UsageError, match=r"cannot read the zone file .*: Is a directory"):
        read_zones(str(tmp_path / "folder.toml"))
    with pytest.raises(UsageError, match=r"zone file zones.yaml: expected a file that ends in .toml or .json"):
        read_zones("zones.yaml")


def test_a_number_too_large_for_any_float_is_not_in_the_picture(tmp_path):
    text = zone_text().replace("[1, 0]", f"[1{'0' * 400}, 0]")
    assert "zone 1 (door): point 2 is not in the picture" in refusal(tmp_path, text)


def two(tmp_path: Path, first: str, second: str) -> str:
    return refusal(tmp_path, f"{zone_text()}\n{first}\n{zone_text()}\n{second}")


@pytest.mark.parametrize("sources", [("", ""), ("source = 'a'", ""), ("", "source = 'a'"), ("source = 'a'",) * 2])
def test_a_name_is_that_of_one_zone_on_any_source(tmp_path, sources):
    said = two(tmp_path, *sources)
    assert (
        said == "street.toml: zone 2 (door): the name is that of street.toml: zone 1 (door) already; give each its own"
    )


def test_two_sources_may_have_a_zone_of_one_name_each(tmp_path):
    text = f"{zone_text(source='a')}\n{zone_text(source='b')}"
    zones = Options(zones=read_zones(written(tmp_path, text))).zones
    assert [zone.source for zone in zones] == ["a", "b"]


def test_more_zones_than_can_be_are_refused(tmp_path):
    zones = "\n".join(zone_text(name=str(i)) for i in range(MOST_ZONES))
    assert len(Options(zones=read_zones(written(tmp_path, zones))).zones) == MOST_ZONES
    line = "\n[[line]]\nname = 'x'\npoints = [[0, 0], [1, 1]]"
    assert (
        refusal(tmp_path, zones + line) == "street.toml: line 1 (x): expected at most 64 zones and lines in all, got 65"
    )


def test_a_line_has_no_dwell():
    with pytest.raises(UsageError, match="zone x: expected no dwell: nothing is in a line"):
        Zone("x", TRIANGLE[:2], is_line=True, dwell=1)


def test_zones_switch_tracking_on():
    assert Options(zones=(Zone("z", TRIANGLE),)).track
    assert not Options().track
    assert Options(track=True).track


ZONES = (Zone("a", TRIANGLE, source="cam0", classes=("cat",)), Zone("b", TRIANGLE), Zone("c", TRIANGLE, source="cam1"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            {"points": ((0, 0, 0), (1, 0, 0), (1, 1, 0))},
            r"zone a: expected point 1 as two numbers, x and y, got \(0, 0, 0\)",
        ),
        ({"points": ((0, 0), (1, 0), 0.5)}, "zone a: expected point 3 as two numbers, x and y, got 0.5"),
        ({"classes": "cat"}, r"zone a: expected classes as a tuple of names, got 'cat'; one alone is \('cat',\)"),
        ({"size": (4, 3, 3)}, r"zone a: expected size = \[width, height\] in pixels, got \[4, 3, 3\]"),
    ],
)
def test_a_zone_of_another_shape_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        Zone(**{"name": "a", "points": TRIANGLE, **wrong})


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path):
    for name, text in (("a.toml", "[[line]]\nname = 'x'\npoints = [[0, 0], [1, 1]]"),
                       ("a.json", '{"line": [{"name": "x", "points": [[0, 0], [1, 1]]}]}')):  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert [zone.name for zone in read_zones(tmp_path / name)] == ["x"]


def test_each_source_has_its_zones_and_those_of_all():
    assert [zone.name for zone in zones_of(ZONES, "cam0")] == ["a", "b"]
    assert [zone.name for zone in zones_of(ZONES, "cam1")] == ["b", "c"]
    assert [zone.name for zone in zones_of(ZONES, "")] == ["b"]


def test_a_source_that_there_is_not_is_refused():
    check_sources(ZONES, ["cam0", "cam1", "cam2"])
    with pytest.raises(UsageError, match="zone c: no source is called 'cam1'; there are cam0, cam2"):
        check_sources(ZONES, ["cam0", "cam2"])
    with pytest.raises(UsageError, match="zone a: no source is called 'cam0'; there is one without a name"):
        check_sources(ZONES, [])


def test_a_class_that_the_model_does_not_know_is_refused():
    check_classes(ZONES, ("cat", "dog"))
    with pytest.raises(UsageError, match="zone a: unknown class 'cat'; the model knows cow, dog"):
        check_classes(ZONES, ("cow", "dog"))


JUNK = [None, True, -1, 0.5, 1e300, float("nan"), 10**400, "", "a\nb", "door", [], {}, [0, 1], [[0, 0], [1, 1], [0, 1]]]
KEYS = ("name", "polygon", "points", "size", "classes", "source", "anchor", "dwell", "a\nb")
junk = st.sampled_from(JUNK)
entries = st.dictionaries(st.sampled_from(KEYS), junk | st.lists(junk, max_size=3), max_size=6)


@given(st.dictionaries(st.sampled_from(["zone", "line", "size", "a\nb"]), st.lists(entries | junk, max_size=3) | junk))
def test_whatever_stands_in_a_file_is_zones_or_one_line(tmp_path_factory, document):
    path = written(tmp_path_factory.getbasetemp(), json.dumps(document), "any.json")
    message = ""
    try:
        Options(zones=read_zones(path))
    except UsageError as refused:
        message = str(refused)
    assert "\n" not in message
    assert len(message) < 600
