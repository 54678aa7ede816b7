"""Every program has --version and --help, and names itself in its messages as a person starts it."""

import importlib

import pytest

from pipeline.version import __version__

PROGRAMS = ["train", "pretrain", "complete", "render_cache", "predict", "explain", "ablate", "cache.__main__",
            "report.data.__main__", "report.run_page.__main__",
            "report.map", "report.compare.__main__", "report.summary", "model.export.__main__",
            "verdict.kernel_baselines", "pipeline.simulate", "pipeline.draft_card", "benchmarks.soak.__main__",
            "benchmarks.focus"]  # fmt: skip


def started_as(module):
    name = module.removesuffix(".__main__")
    return f"python -m {name}" if "." in module else f"python {name}.py"


@pytest.mark.parametrize("module", PROGRAMS)
def test_version_help_and_the_message_of_an_unknown_flag(module, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    main = importlib.import_module(module).main
    for flag, shown in (("--version", __version__), ("--help", started_as(module)), ("--help-all", started_as(module))):
        with pytest.raises(SystemExit) as ended:
            main([flag])
        assert not ended.value.code
        assert shown in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--no-such-flag"])
    assert ended.value.code == 2
    assert f"{started_as(module)} --help" in capsys.readouterr().err
