"""The programs, and how a test starts one in this process."""

MODULES = ["train", "pretrain", "complete", "render_cache", "predict", "explain", "ablate", "cache.__main__",
           "report.data.__main__", "report.run_page.__main__",
           "report.map", "report.compare.__main__", "report.summary", "model.export.__main__",
           "verdict.kernel_baselines", "pipeline.simulate", "pipeline.draft_card", "pipeline.card.__main__",
           "benchmarks.soak.__main__", "benchmarks.focus"]  # fmt: skip


def code_of(program, arguments):
    """The exit code of a program's main, returned or raised."""
    try:
        return program.main(arguments)
    except SystemExit as ended:
        return ended.code or 0
