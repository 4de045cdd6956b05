"""Finding the library of the CUDA kernels, and what is said of one that cannot be used."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

import solo_rt
from solo_rt.engine.tensorrt_library import find_plugins, plugins_revision
from solo_rt.errors import EngineError
from solo_rt.gpu import kernels, native_library
from solo_rt.gpu.kernels import ConvShape, Kernels
from solo_rt.gpu.native_library import find_kernels


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return an empty folder that the package seems to be imported from."""
    monkeypatch.delenv("SOLO_RT_KERNELS", raising=False)
    monkeypatch.delenv("SOLO_RT_PLUGINS", raising=False)
    monkeypatch.setattr(native_library, "__file__", str(tmp_path / "solo_rt" / "gpu" / "native_library.py"))
    (tmp_path / "solo_rt").mkdir()
    return tmp_path / "solo_rt"


@pytest.mark.parametrize(
    ("find", "target", "variable"),
    [(find_kernels, "solo_kernels_cuda", "SOLO_RT_KERNELS"), (find_plugins, "solo_plugins", "SOLO_RT_PLUGINS")],
)
def test_a_library_is_found_where_it_was_named_or_installed(package, monkeypatch, find, target, variable):
    with pytest.raises(EngineError, match=rf"^lib{target}.so is not there: run pip install \. in the checkout$"):
        find()
    (package / native_library.NOTE).write_text("there was no nvcc; install it\n")
    with pytest.raises(EngineError, match=f"^lib{target}.so is not there: there was no nvcc; install it$"):
        find()
    for place in (package / f"lib{target}.so", package / "mine.so"):  # each goes before those so far
        place.touch()
        if place.name == "mine.so":
            monkeypatch.setenv(variable, str(place))
        assert find() == place
    monkeypatch.setenv(variable, str(package / "none.so"))
    with pytest.raises(EngineError, match=f"{variable}=.*none.so: no such file"):
        find()


def test_this_installation_says_what_became_of_its_libraries():
    assert native_library.build_note(Path(solo_rt.__file__).with_name("libsolo_plugins.so"))


def test_a_file_that_is_no_library_is_explained(tmp_path):
    path = tmp_path / "libsolo_kernels_cuda.so"
    path.write_bytes(b"nothing")
    with pytest.raises(EngineError, match=r"cannot be loaded .*; build it again"):
        Kernels(path)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_a_library_of_another_version_and_a_status_are_explained(tmp_path):
    names = [f"solo_cuda_{name}" for name in (*kernels._SIZES, *kernels._CALLS)]
    old, fake = (tmp_path / f"lib{name}.so" for name in ("old", "fake"))
    for path, functions in ((old, names[:-1]), (fake, names)):
        source = "int status = 0;\n" + "".join(f"int {name}() {{ return status; }}\n" for name in functions)
        source += 'const char* solo_cuda_error_text(int code) { return code == 1700 ? "an illegal address" : "?"; }'
        subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-o", path, "-"], input=source.encode(), check=True)
    with pytest.raises(EngineError, match="expected a function solo_cuda_soft_masks, found none; build it again"):
        Kernels(old)
    status = ctypes.c_int.in_dll(ctypes.CDLL(str(fake)), "status")
    library = Kernels(fake)

    def call() -> None:
        library.letterbox(kernels.Picture(), kernels.LetterboxTarget(), 0, stream=0)

    call()
    for value, text in (
        (1, "a size is out of range"),
        (2, "an argument is out of range"),
        (3, "the workspace is too small"),
        (9, "status 9"),
    ):
        status.value = value
        with pytest.raises(EngineError, match=f"^solo_cuda_letterbox: {text}$"):
            call()
    status.value = 1700
    with pytest.raises(
        EngineError, match=r"^CUDA error 700: an illegal address; .*; start again \(solo_cuda_letterbox\)"
    ):
        call()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
def test_plans_depend_on_the_revision_of_the_plugins_and_not_on_who_compiled_them(tmp_path):
    one, other, old = (tmp_path / f"lib{name}.so" for name in ("one", "other", "old"))
    for path, flag, name in ((one, "-O0", "plugins"), (other, "-g", "plugins"), (old, "-O0", "old")):
        source = f'const char* solo_{name}_revision() {{ return "7"; }}\n'
        command = ["gcc", "-shared", "-fPIC", flag, "-x", "c", "-o", path, "-"]
        subprocess.run(command, input=source.encode(), check=True)
    assert one.read_bytes() != other.read_bytes()
    assert (plugins_revision(one), plugins_revision(other)) == ("7", "7")
    with pytest.raises(EngineError, match="expected a function solo_plugins_revision, found none; build it again"):
        plugins_revision(old)


def test_structures_take_tuples():
    options = kernels.NmsOptions(levels=2, grids=(4, 3), strides=(8, 16))
    assert (list(options.grids)[:3], list(options.strides)[:3]) == ([4, 3, 0], [8, 16, 0])
    assert ctypes.sizeof(ConvShape) == 32
