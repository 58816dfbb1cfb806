# The menu is made from the words behind each target's two number signs.
FUZZTIME ?= 20000x
LINT = go tool -modfile=tools/go.mod golangci-lint

.PHONY: menu build test vet lint fuzz bench bench-build bench-node bench-compare bench-short simulate soak flood faults upgrade check deb deploy-check deploy-short
menu: ## show this menu
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/veto
	go build -o bin/veto ./cmd/veto

test: ## all tests, with the race detector; needs only Go
	go test -race -timeout 20m ./...

vet: ## go vet
	go vet ./...

lint: ## golangci-lint, built as a Go tool (the first build takes minutes)
	$(LINT) run ./...

# A count ends as it should; a time sometimes ends as a failure, by the deadline of Go's own fuzzer.
fuzz: ## fuzz every decoder for FUZZTIME each (a count as 5000x, or a time, as 60s)
	@set -e; for p in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "fuzz $$p $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1x -parallel 2 $$p; \
	  done; done

# QUICK=1 sees that all works, in less than a minute once all is built; its numbers are none to quote. ONLY=validate,inside,revoke,denial,scale
# does some of it. SCALE=10000000 and KEYS=10000000 have the curves of revocations and API keys go further: see docs/bench.md for what
# that takes. A section that was measured keeps its place in the report.
RESULTS ?= $(if $(QUICK),bin/bench-quick,bench/results)
bench: bench-build ## Veto beside what else people build, about ten minutes (QUICK=1, ONLY=, SCALE=1000000, KEYS=, RESULTS=)
	bin/bench-side run -veto bin/veto -fill bin/bench-fill -inside bin/node.test -out $(RESULTS) -commit "$$(git describe --always --dirty)" -only "$(ONLY)" $(if $(QUICK),-quick) -scale $(or $(SCALE),1000000) -keys $(or $(KEYS),0)

bench-build: build ## build what `make bench` runs, and install redis-server and etcd-server
	@tools/need redis-server:redis-server etcd:etcd-server taskset:util-linux
	go build -o bin/bench-fill ./bench/fill
	go test -c -o bin/node.test ./node
	cd bench/side && go build -o ../../bin/bench-side .

bench-node: ## what a validation costs inside a node, against floors taken in the same run
	go test ./node -run '^$$' -bench . -benchtime 5s -timeout 20m

OLD ?= HEAD^
NEW ?= HEAD
bench-compare: ## what got slower from OLD to NEW (commits; HEAD^ and HEAD if not given)
	bench/compare $(OLD) $(NEW) $(COUNT)

bench-short: ## the part of the benchmark's own tests that takes a minute and no packages
	cd bench/side && go vet ./... && go test -count 1 -timeout 5m ./...

SECONDS ?= 20
SEED ?= 1
SEEDS ?= 300
simulate: ## run SEEDS clusters in one process, in made-up time, from SEED on
	go test ./test/simulation -count 1 -v -timeout 10h -run TestSimulation -seed $(SEED) -seeds $(SEEDS)

faults: ## break a cluster on purpose, in network namespaces (root on Linux; SECONDS, SEED)
	@tools/need ip:iproute2 nft:nftables strace:strace
	go vet -tags faults ./test/... ./cmd/veto
	go test -tags faults ./cmd/veto -run '^TestClockIsSet$$' -count 1
	go test -tags faults ./test/faults -count 1 -v -timeout 60m -seconds $(SECONDS) -seed $(SEED)

SOAK ?= 10m
soak: ## a cluster under load with fast clocks (10 min are 100 h): nothing may grow without an end (SOAK)
	go test ./test/load -run '^TestSoak$$' -count 1 -v -timeout 2h -soak $(SOAK)

ROUNDS ?= 7
flood: ## p99 of validations, quiet and under a flood of the control plane and an import, in turns (ROUNDS)
	go test ./test/load -run '^$$' -bench Flood -benchtime $(ROUNDS)x -timeout 30m -v

upgrade: ## roll a cluster from the version in test/upgrade/PREVIOUS to this one, under load
	go vet -tags upgrade ./test/...
	go test -tags upgrade ./test/upgrade -count 1 -v -timeout 15m

check: test vet lint ## what CI runs, with 5,000 inputs for each fuzzer
	$(MAKE) fuzz FUZZTIME=5000x

VERSION ?= dev
DEB_ARCH ?= $(shell dpkg --print-architecture)
OUT = deploy/out
# The same source, Go and VERSION give the same package. The empty environment keeps settings of
# whoever builds it out of the manual pages, which show defaults.
deb: ## build deploy/out/veto.deb (VERSION, DEB_ARCH)
	rm -rf $(OUT) && mkdir -p $(OUT)/man
	CGO_ENABLED=0 GOARCH=$(DEB_ARCH) go build -trimpath -buildvcs=false -ldflags '-s -w -buildid= -X main.version=$(VERSION)' -o $(OUT)/veto ./cmd/veto
	go build -o $(OUT)/here -ldflags '-X main.version=$(VERSION)' ./cmd/veto
	env -i $(OUT)/here man $(OUT)/man
	gzip -9n $(OUT)/man/*
	for s in bash zsh fish; do env -i $(OUT)/here completion $$s >$(OUT)/$$s; done
	DEB_ARCH=$(DEB_ARCH) DEB_VERSION=$(patsubst dev,0.0.0~dev,$(VERSION)) go tool -modfile=tools/go.mod nfpm package -f deploy/debian/nfpm.yaml -p deb -t $(OUT)/veto.deb

deploy-check: deb deploy-short ## check what is in deploy/ (root on Debian: installs promtool, systemd and debootstrap)
	deploy/check

deploy-short: ## the part of deploy-check that takes no packages and no container tools
	cd deploy/test && go vet ./... && go test -count 1 -timeout 10m ./...
