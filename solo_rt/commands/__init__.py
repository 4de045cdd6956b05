"""The commands of `solo-rt`, one file each; `COMMANDS` is what `solo-rt --help` lists."""

from __future__ import annotations

from solo_rt.commands.bench import bench, bench_compare, bench_sweep
from solo_rt.commands.build_engine import build_engine
from solo_rt.commands.check_labels import check_labels
from solo_rt.commands.demo_data import demo_data
from solo_rt.commands.doctor import doctor
from solo_rt.commands.download import download
from solo_rt.commands.evaluate import evaluate
from solo_rt.commands.export import export
from solo_rt.commands.import_weights import import_weights
from solo_rt.commands.inspect import inspect
from solo_rt.commands.plan import plan
from solo_rt.commands.quantize import quantize
from solo_rt.commands.run import run
from solo_rt.commands.train import train

COMMANDS = (
    run,
    inspect,
    doctor,
    demo_data,
    download,
    check_labels,
    train,
    import_weights,
    evaluate,
    export,
    quantize,
    build_engine,
    bench,
    bench_compare,
    bench_sweep,
    plan,
)
