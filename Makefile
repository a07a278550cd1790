# make test   the short form: no root, installs nothing; says what it left out
# make test-all  everything, as CI runs it; installs what it needs, where it may
# make bench  the figures, from interleaved runs on this machine
# make dist   what is shipped, for every system of packaging/targets, into dist/
# make chaos  the attack on the two promises (ROUNDS=…, SEED=…)
# make cluster  the same for the cluster, on etcd and PostgreSQL

# urfave_cli_no_docs: the documentation generator's init would cost half a
# millisecond at every tick. osusergo, netgo: no C library, one static binary.
TAGS  = urfave_cli_no_docs,osusergo,netgo
BUILD = CGO_ENABLED=0 go build -trimpath -buildvcs=auto -tags $(TAGS) -ldflags "-s -w"

SHELL = /bin/bash
.SHELLFLAGS = -o pipefail -c

# Passing tests say nothing; what failed is told whole, and what was left out by
# name, at the end, where people look.
GOTEST = bin/gotestsum --format standard-quiet -- -tags $(TAGS)

# Every module of go.work is named to go test, so the top's need not ask for the
# others.
export LIFELINE_MODULES = tested

.PHONY: build test test-all needs vet cross bench chaos model rounds dist deb docs clean crash fuzz modules vuln cover bench-all plots

build:
	$(BUILD) -o bin/lifeline .
	$(BUILD) -o bin/lifeline-remote ./cmd/lifeline-remote

# The short form, for a first look: without root's rights, the race detector
# and the tests that take minutes. It prints each package when it is done.
test: bin/gotestsum
	@bin/gotestsum --format pkgname --hide-summary skipped --jsonfile bin/test.json -- -tags $(TAGS) -short -timeout 10m work; code=$$?; \
	left=$$(grep -c '"Action":"skip","Package":"[^"]*","Test"' bin/test.json); \
	echo "Left out: $$left tests that this machine, this user or the short form has no room for, the race detector,"; \
	echo "the other systems' builds, fuzzing. 'make test-all' runs them all (as root on Debian it installs packages)."; \
	exit $$code

# Everything. A program built with -race waits a second at its end, unless told
# not to.
test-all: needs etcd bin/gotestsum vet cross
	GORACE=atexit_sleep_ms=0 $(GOTEST) -race -timeout 25m work

vet:
	go vet -tags $(TAGS) work
	go tool staticcheck -tags $(TAGS) $$(go list -tags $(TAGS) work)

# For every system that is shipped for: does it compile, and is each atomic
# access aligned?
cross:
	go run ./proof/lint/cross

# go vet for each of them: an hour of compiling at first, so it is for releases.
.PHONY: vet-all
vet-all:
	@for target in $$(cat packaging/targets); do \
		os=$${target%/*} arch=$${target#*/}; echo "vet $$target"; \
		GOOS=$$os GOARCH=$${arch%v[67]} go vet -tags $(TAGS) . ./lifeline/... ./tasks ./install ./procscan ./internal/... ./cmd/lifeline-remote/... || exit 1; \
	done

# Real daemons and real clients to test with. Where they can't be installed,
# the tests that need them are skipped by name.
needs:
	@sh proof/needs.sh

# BENCHMARKS.md is what this prints on a machine that does nothing else, and
# the plots are drawn of it.
bench:
	$(MAKE) -s bench-all | tee BENCHMARKS.md.new
	mv BENCHMARKS.md.new BENCHMARKS.md
	$(MAKE) -s plots

bench-all:
	@echo '# Benchmarks'
	@echo
	@echo 'The output of `make bench`: all contenders in turn within one run, medians and ratios. Times are of one machine; ratios travel better.'
	@echo
	@go run -tags $(TAGS) ./proof/bench all
	@go run -tags $(TAGS) ./proof/supervise all
	@go run -tags $(TAGS) ./proof/reload -mode all
	@go run ./proof/cluster failover

plots:
	cd proof/plot && GOWORK=off go run . ../../BENCHMARKS.md ../../docs

ROUNDS ?= 2000
SEED ?= 0
chaos:
	go run -tags $(TAGS) ./proof/chaos -strict -rounds $(ROUNDS) -seed $(SEED)

# The list of what is linked in; a test holds it to the truth.
modules:
	go run ./proof/modules >MODULES.md.new && mv MODULES.md.new MODULES.md

# Known weaknesses of what is linked in, where the list of them can be reached.
VULN = golang.org/x/vuln/cmd/govulncheck@v1.9.0
vuln:
	@if curl -sfo /dev/null --max-time 10 https://vuln.go.dev/index/modules.json; then \
		go run $(VULN) -tags $(TAGS) . ./cmd/lifeline-remote; \
	else echo "govulncheck's database can't be reached: MODULES.md is what can be looked at"; fi

# Everything that reads bytes from outside, for a short time each.
FUZZTIME ?= 3s
fuzz:
	@sh proof/fuzz.sh $(FUZZTIME)

# How much of the packages that the product stands on is run by their tests,
# programs that the tests start included.
cover:
	@sh proof/cover.sh

# SIGKILL at each of lifeline's own steps, LIFELINE_CRASHES times.
crash:
	LIFELINE_CRASHES=200 go test -v -tags $(TAGS) -timeout 3h -run TestCrash ./proof/crash

# The models, in their large sizes.
model:
	LIFELINE_MODEL=full go test -v -timeout 1h ./proof/model

# The same on real engines, for one instance in a whole cluster.
.PHONY: cluster
cluster: etcd
	go run ./proof/cluster -rounds $(ROUNDS) -seed $(SEED)
	go run ./proof/cluster slots -rounds 100 -seed $(SEED) -ttl 2s -subjects lifeline-etcd,lifeline-postgres
	go run ./proof/cluster ticks -seed $(SEED)
	go run ./proof/cluster outage

# The thousand rounds of twenty simultaneous starts, with each mechanism off.
rounds:
	LIFELINE_ROUNDS=1000 go test -v -tags $(TAGS) -timeout 1h ./proof/rounds

# What is shipped: programs for all systems, the manual page, packages.
# See packaging/.
dist:
	packaging/dist.sh dist

# Moves the whole tree to another module path, and back with TO=lifeline: where
# it will live isn't known.
.PHONY: module-path
module-path:
	@go run ./packaging/modulepath "$(TO)"

# The page of recorded sessions, from what the program does today; and the pictures
# of the page that lifeline report writes (Chromium).
docs:
	go run ./docs/record
	cd proof/page && GOWORK=off go run ./shots ../../docs

# A release: everything passes, then everything is made, signed with
# LIFELINE_SIGN_KEY.
.PHONY: release
release: test-all vet-all
	packaging/release.sh dist

deb: dist
	packaging/packages.sh dist

# The engine to test with, and what sums the tests up: built from their own
# modules, pinned in proof/tools/go.mod so that nothing of them comes into
# lifeline's.
.PHONY: etcd
etcd: bin/etcd bin/etcdctl
bin/etcdctl: proof/tools/go.mod proof/tools/go.sum
	cd proof/tools && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o ../../bin/etcdctl go.etcd.io/etcd/etcdctl/v3
bin/etcd: proof/tools/go.mod proof/tools/go.sum
	cd proof/tools && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o ../../bin/etcd go.etcd.io/etcd/server/v3
bin/gotestsum: proof/tools/go.mod proof/tools/go.sum
	cd proof/tools && GOWORK=off CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o ../../bin/gotestsum gotest.tools/gotestsum

clean:
	rm -rf bin dist
