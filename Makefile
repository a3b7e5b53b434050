# make alone prints the targets.

GO       ?= go
BENCH    ?= .
COUNT    ?= 1
PACKAGES ?= ./...
FUZZ     ?= 20s
# The race detector needs a C compiler; without one the tests run all the same, and say so.
RACE     := $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

# Each AWS client of a test, and of an agent that a test starts, would parse the bundle. They speak HTTP to their stand-ins.
unexport AWS_CA_BUNDLE

.DEFAULT_GOAL := help
.PHONY: check help build demo lint short test explore standins test-386 test-dist dist cross demo-arm clients peers prose mutate fuzz bench man generate clean

# make check leaves out the packages whose short tests take more than a few seconds.
SLOW     := standpipe/(wal|wal/inspect|wal/deadletter|shipper|shipper/ranged|shipper/sink/s3|agent|agent/ingest/internal/connlimit)$$

check: lint ## lint, build, and the short tests of the quick packages: under a minute once built
	$(GO) build ./...
	$(GO) test -short $$($(GO) list ./... | grep -vE '$(SLOW)')

help: ## print the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: ## build bin/standpipe
	$(GO) build -o bin/standpipe ./cmd/standpipe

demo: build ## start an agent in ./standpipe-dev, send it sample events, show where they went, stop it
	@scripts/demo bin/standpipe

lint: ## gofmt, vet, staticcheck, the rules of the layout, and no folder above its ceiling of hard sentences
	@unformatted=$$(gofmt -l $$(git ls-files '*.go' | grep -v '\.pb\.go$$')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool staticcheck ./...
	$(GO) test .
	$(GO) run ./scripts/prose -ceilings

short: lint ## lint and run the tests that need neither stand-ins nor the built program
	$(GO) test -short ./...

# make test starts the packages that take longest first, so that none of them runs alone in the end.
LONGEST  := ./wal ./shipper ./test/e2e

test: lint ## lint and run every test, end to end too; lists the tests for which a tool is missing
ifeq ($(RACE),)
	@echo "test: no C compiler, so the race detector is off"
endif
	@mkdir -p bin && : >bin/not-tested
	STANDPIPE_NOT_TESTED=$(CURDIR)/bin/not-tested $(GO) test $(RACE) -timeout 50m $(LONGEST) ./...
	@sed 's/^/test: NOT TESTED on this machine: /' bin/not-tested

explore: ## run the tests of PACKAGES with parameters that are drawn anew, COUNT=n times
	STANDPIPE_SEED=random $(GO) test $(RACE) -timeout 0 -count $(COUNT) $(PACKAGES)

standins: ## install the stand-ins and tools that the tests need; prints first which system packages it installs
	@scripts/standins/install

test-386: ## run the tests of the log, the shipper and ingest as a 32-bit program
	CGO_ENABLED=0 GOARCH=386 $(GO) test -short -timeout 15m ./wal/... ./shipper/... ./agent/ingest/...
	CGO_ENABLED=0 GOARCH=386 $(GO) test -timeout 15m -run TestMaps_FitInto2GiB ./wal

dist: ## build a release into dist/: archives, packages, image, SBOM, sums; VERSION=v and PLATFORMS="linux/arm/6 ..." choose
	$(GO) -C scripts/dist run . $(if $(VERSION),-version $(VERSION)) $(if $(PLATFORMS),-platforms "$(PLATFORMS)")

test-dist: ## build a release for this machine twice, install its packages in a chroot and under systemd, and run its image
	@mkdir -p bin && : >bin/not-tested-dist
	cd scripts/dist && $(GO) vet ./... && \
	STANDPIPE_NOT_TESTED=$(CURDIR)/bin/not-tested-dist $(GO) test -timeout 40m ./...
	@sed 's/^/test-dist: NOT TESTED on this machine: /' bin/not-tested-dist

peers: ## measure other programs of the field beside standpipe; BENCH=pattern chooses
	cd test/peers && $(GO) vet ./... && $(GO) test -run '^$$' -bench '$(or $(BENCH),.)' -benchtime 20x ./...

clients: ## write the packages of the clients for Python and Node.js into dist/
	@mkdir -p dist
	python3 -m pip -q wheel --no-deps --wheel-dir dist ./client/python
	npm --prefix client/node ci --silent
	cd client/node && npm pack --silent --pack-destination ../../dist

cross: ## build and vet for every platform; PLATFORMS="linux/arm/6 ..." chooses
	@scripts/cross $(PLATFORMS)

demo-arm: ## run the demo as a 32-bit ARM program, under QEMU's user emulation
	@scripts/demo-arm

prose: ## count hard sentences, folder by folder; PROSE="-list wal" shows them, PROSE=-lower records fewer
	@$(GO) run ./scripts/prose $(PROSE)

mutate: ## put each known mistake into the code and expect a test to notice; MUTATIONS=regexp chooses
	@$(GO) run ./scripts/mutate $(MUTATIONS)

fuzz: ## fuzz every decoder for FUZZ=20s each
	@scripts/fuzz $(FUZZ)

bench: ## run the benchmarks; BENCH=regexp chooses, COUNT=n repeats, and benchstat sums up
	@mkdir -p bin
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -count $(COUNT) $(PACKAGES) | tee bin/bench.txt
	$(GO) tool benchstat bin/bench.txt

man: ## write the manual pages of all commands into bin/man
	$(GO) run ./cmd/standpipe man bin/man

generate: ## write the Go code of the wire contract and docs/configuration.md again
	$(GO) generate ./...

clean: ## remove the output of the targets above
	rm -rf bin dist standpipe-dev .standins
