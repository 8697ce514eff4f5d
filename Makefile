# Everything a newcomer needs: git, make and Python 3.11. `make` alone lists the targets.
#
# Variables:  PYTHON         interpreter that makes .venv                     (python3)
#             DATA, OUT      what `make demo` opens and where it writes       (synthetic, demo)
#             ARGS           more words for the demo, for example --overwrite,
#                            or for torture, for example --anew               ()
#             TORCH_BACKEND  torch to install: cpu, or auto for the GPU found (cpu)
#             UV_FIND_LINKS  folder of wheels to take torch from instead      (what pip is set to)
#             WORKERS        processes that tests run in                      (2)
PYTHON ?= python3
DATA ?= synthetic
OUT ?= demo
ARGS ?=
TORCH_BACKEND ?= cpu
WORKERS ?= 2
BIN := .venv/bin
COMMA := ,

.PHONY: help venv test torture lab demo bench speed export clean-check readme tutorials screenshots docs dist
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv reads neither pip's configuration nor PIP_FIND_LINKS, so a folder of wheels that pip knows is handed on.
# Without one, torch comes from PyTorch's own index, because the build on PyPI brings 2.5 GB of CUDA along;
# if that index cannot be reached, PyPI's build has to do.
define install
	@links="$${UV_FIND_LINKS:-$${PIP_FIND_LINKS:-$$($(BIN)/python -m pip config get global.find-links 2>/dev/null)}}"; \
	get() { $(BIN)/uv pip install -q --python $(BIN)/python -c constraints.txt -e "$(1)" "$$@"; }; \
	if [ -n "$$links" ]; then UV_FIND_LINKS=$$(echo $$links | tr -s ' ' ',') get; \
	else get --torch-backend $(TORCH_BACKEND) || { \
		echo "torch for '$(TORCH_BACKEND)' could not be had from PyTorch's index; taking the one of PyPI."; get; }; fi
	@touch $@
endef

# Two steps, so that the demo waits for nothing that only developers need.
.venv/.core: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), but must be Python 3.11 or newer. Run: make PYTHON=python3.11 ..."; exit 1; }
	@echo "Installing into .venv; the first time this takes a minute or two."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || \
		{ rm -rf .venv; echo "No virtual environment could be made. On Debian or Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv
	$(call install,.)

.venv/.ok: .venv/.core
	$(call install,.[dev])

.venv/.docs: .venv/.ok
	$(call install,.[dev$(COMMA)docs])

venv: .venv/.ok ## make .venv with the library and all that development needs

test: .venv/.ok ## run the pages (nbdev_test), then the tests of tests/ (pytest)
	@export OMP_NUM_THREADS=1; status=0; \
	$(BIN)/python tests/services.py $(BIN)/nbdev_test --n_workers $(WORKERS) || status=1; \
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile || status=1; \
	exit $$status

torture: .venv/.ok ## make every known mistake and require its test to fail; kill training fifty times
	@OMP_NUM_THREADS=1 $(BIN)/python tests/torture.py --kills --workers $(WORKERS) $(ARGS)

lab: .venv/.ok ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab nbs

demo: .venv/.core ## train, embed, probe and report: make demo DATA=path OUT=folder
	$(BIN)/aenb demo --data $(DATA) --out $(OUT) $(ARGS)

bench: .venv/.ok ## run every benchmark; prints one table, writes bench.json
	$(BIN)/python tests/bench/run_all.py --out bench.json

speed: .venv/.ok ## measure what has a target, write the page Speed of the site
	$(BIN)/python tests/bench/table.py

export: .venv/.ok ## write the modules from the notebooks
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

# Name and content of every file that git does not ignore, tracked or not.
LISTING = git ls-files -co --exclude-standard -z | sort -zu | xargs -0 sha256sum 2>&1

clean-check: .venv/.ok ## check that export and clean change no file
	@before=$$(mktemp); after=$$(mktemp); $(LISTING) > $$before; \
	$(BIN)/nbdev_export && $(BIN)/nbdev_clean || exit 1; $(LISTING) > $$after; \
	diff $$before $$after && rm $$before $$after || \
		{ echo "Export or clean changed the files above. Run: make export, look at git diff, commit."; exit 1; }

readme: .venv/.ok ## write README.md from nbs/index.ipynb
	$(BIN)/python tests/readme.py

tutorials: .venv/.ok ## write the cells for Colab into every tutorial
	$(BIN)/python tests/tutorial_cells.py

screenshots: .venv/.ok ## take the pictures of the README anew, in a browser
	CI=true $(BIN)/pytest -q tests/test_browser_maps.py tests/test_browser_search.py tests/test_browser_change.py \
		-k 'pictures and light'
	mkdir -p nbs/images
	for name in compare_map probe_map search_map change_map; do cp build/screenshots/$${name}_light_lab.png nbs/images/$$name.png || exit 1; done

docs: .venv/.docs ## build the site in _docs, strictly, and check its links and what it loads
	WORKERS=$(WORKERS) OMP_NUM_THREADS=1 $(BIN)/python tests/build_site.py

dist: .venv/.ok ## build wheel and source archive, check them, try the wheel in an empty environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/twine check --strict dist/*
	AENB_DIST=dist $(BIN)/pytest -q tests/test_package.py
