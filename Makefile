# The commands that matter; `make` alone tells them. Nothing here needs root (make drill fills a small disk when it has it).

PORT ?= 9400
DATA ?=
DRILL ?=
MINUTES ?= 10
SEED ?=

.DEFAULT_GOAL := help
.PHONY: help prepare run test check fix kernels bench bench-scrape bench-parse bench-assign bench-codec bench-coders bench-fetch bench-cost bench-limit drill drill-once drill-short sim sim-planted clean

help:
	@echo "make run          a whole federation on this machine (DATA=dir keeps its data, PORT=9400 is its first port)"
	@echo "make test         all checks and tests"
	@echo "make check        types and style alone"
	@echo "make fix          format, and mend what can be mended"
	@echo "make kernels      build the WebAssembly that is committed beside its sources (*.as.ts) anew"
	@echo "make bench        benchmarks of parts; bench-parse, bench-codec, bench-assign, bench-fetch: one of them; bench-cost: what a scrape costs its target"
	@echo "make bench-scrape 5,000 servers, side by side with vmagent and Prometheus' agent (SCENARIO=100@15 PEERS=vmagent WINDOW=60 OUT=file)"
	@echo "make bench-limit  how many targets one secondary carries before a scrape is late (THREADS=2 SCENARIO=100@1)"
	@echo "make drill        faults by a seed for MINUTES=10, and the account of every sample (SEED=n repeats a script)"
	@echo "make drill-once   each process killed once and a cut (5 minutes); make drill-short or make run DRILL=1: 2 minutes"
	@echo "make drill-moves  four secondaries of 2,000 targets killed, stopped, cut off, drained: whose slots are missing"
	@echo "make sim          simulated federations, an hour each, with a fault a minute (SEEDS=20, SEED=first)"
	@echo "make sim-moves    secondaries that are lost in simulated data centres, and whose slots that cost (SEEDS=1000)"
	@echo "make fuzz         broken bodies and answers for the scrape path, against plain readings (INPUTS=1000000, SEED=n)"
	@echo "make replay       the same bodies to Heliograph and to Prometheus for MINUTES=10, and every sample compared"
	@echo "make soak         5,000 targets, 50 of them hostile, for MINUTES=30: nobody late, memory level, failures named"
	@echo "make sim-planted  bugs that are put in on purpose, and after how many seeds each is found"
	@echo "make clean        remove what make made"

# npm ci writes it last. A stamp of our own would survive an interrupted run.
installed := node_modules/.package-lock.json
page := global/web/dist/index.html
page_sources := $(shell find global/web -path global/web/dist -prune -o -type f -print)

$(installed): package-lock.json package.json
	@echo "Installing npm packages, Node 26 among them."
	@npm ci --no-audit --no-fund --no-update-notifier --loglevel=error
# npm 10 leaves out the link by which its scripts find the Node that it has just installed.
	@[ -e node_modules/.bin/node ] || ln -s ../$$(cd node_modules && echo node-linux-*/bin/node) node_modules/.bin/node
	@touch $@

$(page): $(installed) $(page_sources)
	@npm run --silent web -- --logLevel warn
	@touch $@

# A drill beside a running demo looks for free ports, unless it was told some.
drill_port := $(if $(filter file,$(origin PORT)),,--port-base $(PORT))

prepare: $(installed) $(page)

run: prepare
	@$(if $(DRILL),bin/heliograph drill --short $(drill_port),bin/heliograph demo --port-base $(PORT)) $(if $(DATA),--data "$(DATA)")

# Whole federations on every core, each with faults by a seed of its own (SEED=n for known ones).
sim := node_modules/.bin/node test/sim/main.ts

# Ten million inputs of each kind are about an hour and a half of one core.
fuzz := node_modules/.bin/node test/fuzz/main.ts

# Of the simulations and of the fuzzers' inputs a fresh share, as many as fit into that time.
test: prepare
	@npm run --silent check
	@$(sim) --seeds 1000 --minutes 15 --seconds 45
	@$(fuzz) --seconds 10
	@npm test --silent

check: $(installed)
	@npm run --silent check

fix: $(installed)
	@npm run --silent fix

kernels: $(installed)
	@npm run --silent kernels

node := node_modules/.bin/node

bench: bench-parse bench-codec bench-assign bench-fetch

bench-fetch: $(installed)
	@$(node) test/bench/fetch.ts
	@for pause in 12 50 100; do $(node) test/bench/fetch.ts $$pause || exit 1; done

bench-cost: $(installed)
	@$(node) test/bench/cost.ts 20

bench-parse: $(installed)
	@$(node) test/bench/parse.ts

bench-codec: $(installed)
	@$(node) test/bench/codec.ts

bench-assign: $(installed)
	@$(node) test/bench/assign.ts

bench-coders: $(installed)
	@$(node) test/bench/coders.ts

bench-limit: $(installed)
	@$(node) test/bench/scrape/limit.ts $(if $(SCENARIO),--scenario=$(SCENARIO)) $(if $(WINDOW),--window=$(WINDOW)) $(if $(THREADS),--threads=$(THREADS))

SCENARIO ?=
PEERS ?=
WINDOW ?=
WARMUP ?=
TARGETS ?=
OUT ?=
PROFILE ?=
THREADS ?=
bench-scrape: $(installed)
	@$(node) test/bench/scrape/main.ts $(foreach option,SCENARIO PEERS WINDOW WARMUP TARGETS OUT PROFILE THREADS,\
	  $(if $($(option)),--$(shell echo $(option) | tr A-Z a-z)=$($(option))))

drill: prepare
	@bin/heliograph drill --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(drill_port)

drill-once: prepare
	@bin/heliograph drill $(drill_port)

drill-short: prepare
	@bin/heliograph drill --short $(drill_port)

.PHONY: drill-moves
drill-moves: prepare
	@node_modules/.bin/node test/moves/main.ts

# 2000 seeds are some 2.5 hours of one core.
sim: $(installed)
	@$(sim) --seeds $(or $(SEEDS),20) $(if $(SEED),--seed $(SEED)) --shrink

.PHONY: sim-moves
sim-moves: $(installed)
	@node_modules/.bin/node test/sim/moves-main.ts --seeds $(or $(SEEDS),1000) $(if $(SEED),--seed $(SEED))

sim-planted: $(installed)
	@$(sim) --planted --minutes 30 --seed $(or $(SEED),1)

.PHONY: fuzz replay soak
fuzz: $(installed)
	@$(fuzz) --inputs $(or $(INPUTS),1000000) $(if $(SEED),--seed $(SEED))

replay: $(installed)
	@node_modules/.bin/node test/replay/main.ts --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

soak: $(installed)
	@node_modules/.bin/node test/soak/main.ts --minutes $(if $(filter file,$(origin MINUTES)),30,$(MINUTES))

clean:
	@rm -rf node_modules .tap .tools coverage global/web/dist
