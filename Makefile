# make alone prints the targets.

GO       ?= go
BENCH    ?= .
COUNT    ?= 1
PACKAGES ?= ./...
FUZZ     ?= 20s
# The race detector needs a C compiler; without one the tests run all the same, and say so.
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.DEFAULT_GOAL := help
.PHONY: help build demo test short test-386 cross demo-arm standins bench fuzz mutate generate prose lint clean

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: ## build bin/standpipe
	$(GO) build -o bin/standpipe ./cmd/standpipe

demo: build ## start an agent in ./standpipe-dev, send it sample events, show where they went, stop it
	@scripts/demo bin/standpipe

test: standins lint ## install the stand-ins, then vet and run every test, end to end too
ifeq ($(RACE),)
	@echo "test: no C compiler, so the race detector is off"
endif
	@mkdir -p bin && : >bin/not-tested
	STANDPIPE_NOT_TESTED=$(CURDIR)/bin/not-tested $(GO) test $(RACE) -timeout 15m ./...
	@sed 's/^/test: NOT TESTED on this machine: /' bin/not-tested

short: lint ## run the tests that need neither stand-ins nor the built program
	$(GO) test -short ./...

test-386: ## run the tests of the log, the shipper and ingest as a 32-bit program
	CGO_ENABLED=0 GOARCH=386 $(GO) test -short -timeout 15m ./wal/... ./shipper/... ./agent/ingest/...
	CGO_ENABLED=0 GOARCH=386 $(GO) test -timeout 15m -run TestMaps_FitInto2GiB ./wal

cross: ## build and vet for every platform; PLATFORMS="linux/arm/6 ..." chooses
	@scripts/cross $(PLATFORMS)

demo-arm: ## run the demo as a 32-bit ARM program, under QEMU's user emulation
	@scripts/demo-arm

standins: ## install kinesalite, moto and aws-kinesis-agg into .standins (needs node, npm and python3)
	@scripts/standins/install

bench: ## run the benchmarks; BENCH=regexp chooses, COUNT=n repeats, and benchstat sums up
	@mkdir -p bin
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PACKAGES) | tee bin/bench.txt
	$(GO) tool benchstat bin/bench.txt

fuzz: ## fuzz every decoder for FUZZ=20s each
	@scripts/fuzz $(FUZZ)

mutate: ## put each known mistake into the code and expect a test to notice; MUTATIONS=regexp chooses
	@$(GO) run ./scripts/mutate $(MUTATIONS)

generate: ## write the Go code of the wire contract again
	$(GO) generate ./...

prose: ## count the habits of writing that make a reader stop, folder by folder; PROSE="-list wal" shows them
	@$(GO) run ./scripts/prose $(PROSE)

lint: ## go vet and gofmt
	$(GO) vet ./...
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi

clean: ## remove what the targets above made
	rm -rf bin standpipe-dev .standins
