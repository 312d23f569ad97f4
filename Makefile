# `make app` and `make test` set up everything they need in .venv.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: app share test test-app test-library check bench pictures results training architecture clean

app: .venv/ready
	$(BIN)/streamlit run app.py

# Listens on every network interface: anybody who can reach this machine can use the app.
share: .venv/ready
	$(BIN)/streamlit run app.py --server.address 0.0.0.0

# Side by side, since the app's tests wait much and the others compute.
test: .venv/ready
	$(MAKE) --jobs 2 --keep-going test-app test-library

test-app: .venv/ready
	$(BIN)/python -m pytest tests/app tests/browser

test-library: .venv/ready
	$(BIN)/python -m pytest --ignore tests/app --ignore tests/browser

check: .venv/ready
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/ready
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.evaluation
	$(BIN)/python -m benchmarks.lecture

# The pictures of the app in README.md and docs/lecture.md.
pictures: .venv/ready
	$(BIN)/python -m scripts.take_screenshots

# docs/results.md, from pretrained/results/*.json, the cards of the classifiers and the stored runs.
results: .venv/ready
	$(BIN)/python -m scripts.build_results

# The tables and curves of docs/training.md, from the recipes and the cards in pretrained/manifest.json.
training: .venv/ready
	$(BIN)/python -m scripts.build_training

# The picture and the table of docs/architecture.md, from the imports.
architecture: .venv/ready
	$(BIN)/python -m scripts.draw_architecture

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --requirement requirements.txt
	touch .venv/ready

clean:
	rm -rf .venv
