# Everything here makes its own environment, .venv, and needs only Python 3.11+, a C++ compiler and make.
# Another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
TRT ?= tensorrt
BIN := .venv/bin
# More than two would fight for memory and for the cores that OpenVINO and TensorFlow take.
PARALLEL := -n 2 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help demo check test sanitize fuzz bench gpu-check docs picture wheel clean

# For developers and CI, not for users' compilers: a warning in csrc/ is an error (setup.py).
check test sanitize: export SRGAN_TRT_WERROR := 1

help: ## This list
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile

demo: ## The main job: a photo upscaled x4, by the default and by a real Keras generator; a sheet to look at
	@$(PYTHON) scripts/demo.py

test: ## ruff, mypy --strict and all tests
	@$(PYTHON) scripts/environment.py train weights real denoise video cloud ray plot serve hub gpu-dev docs dev
	@command -v chromium >/dev/null || { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } \
		|| echo "no Chromium here (Debian: apt install chromium): the tests of the page skip"
	@$(BIN)/python -m pip show -q pycuda 2>/dev/null || $(BIN)/python -m tests.cuda_driver.pycuda_build -q -c constraints.txt \
		|| echo "pycuda could not be built: see above; its tests skip"
	@cd tests/onnxruntime_web && { [ node_modules -nt package-lock.json ] || npm ci --silent --ignore-scripts; } \
		|| echo "no npm here, or no registry: the tests of onnxruntime-web skip"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PARALLEL) -rs --durations=20

check: ## What takes two minutes: ruff, mypy --strict, the arrows between the rooms, the tests without TensorFlow and GPUs
	@$(PYTHON) scripts/environment.py serve dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest $(PARALLEL) -m "not full"

sanitize: ## The C++ kernels' tests under AddressSanitizer and UBSan
	@$(PYTHON) scripts/environment.py dev
	sh csrc/sanitize.sh $(CURDIR)/$(BIN)/python

fuzz: ## Mutated models, pictures and plans, each in a process with limits (options: ARGS="--onnx 5000 --h5 0")
	@$(PYTHON) scripts/environment.py keras dev
	$(BIN)/python scripts/fuzz.py $(ARGS)

bench: ## Speed against Keras, onnxruntime and OpenVINO on this machine (options: ARGS="--only paper --size 64x64")
	@$(PYTHON) scripts/environment.py keras weights -r benchmarks/requirements.txt
	$(BIN)/python benchmarks/run.py $(ARGS)

gpu-check: ## With an NVIDIA GPU: tests without stand-ins, times, one report (TRT=tensorrt-rtx for GeForce and RTX)
	@$(PYTHON) scripts/environment.py weights $(TRT) gpu-check dev
	$(BIN)/python scripts/gpu_check.py --out gpu-report

docs: ## The pages of docs/ and the Python API as HTML: build/docs/index.html
	@$(PYTHON) scripts/environment.py docs
	$(BIN)/python -m sphinx -q -W --keep-going -d build/doctrees docs build/docs
	@echo "look at: $(CURDIR)/build/docs/index.html"

picture: ## The README's picture anew, by the default model
	@$(PYTHON) scripts/environment.py
	$(BIN)/python scripts/readme_picture.py

wheel: ## dist/: an sdist, and a wheel for every Python here (PYTHONS="python3.11 ..."), each tried without a compiler
	@$(PYTHON) scripts/wheels.py $(PYTHONS)

clean: ## Takes away all that the other targets made
	rm -rf .venv build dist demo srgan_trt.egg-info tests/onnxruntime_web/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf srgan_trt/_pixels*.so srgan_trt/csrc
	find srgan_trt tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
