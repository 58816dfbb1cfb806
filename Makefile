# The menu is made from the words behind each target's two number signs.
FUZZTIME ?= 20000x
LINT = go tool -modfile=tools/go.mod golangci-lint

.PHONY: menu build test vet lint fuzz bench faults upgrade check
menu: ## show this menu
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

bench: ## what a validation costs, against floors taken in the same run
	go test ./node -run '^$$' -bench . -benchtime 5s -timeout 20m

SECONDS ?= 20
SEED ?= 1
faults: ## break a cluster on purpose, in network namespaces (root on Linux; SECONDS, SEED)
	@command -v ip >/dev/null || apt-get install -y iproute2
	go vet -tags faults ./test/...
	go test -tags faults ./test/faults -count 1 -v -timeout 60m -seconds $(SECONDS) -seed $(SEED)

upgrade: ## roll a cluster from the version in test/upgrade/PREVIOUS to this one, under load
	go vet -tags upgrade ./test/...
	go test -tags upgrade ./test/upgrade -count 1 -v -timeout 15m

check: test vet lint ## what CI runs, with 5,000 inputs for each fuzzer
	$(MAKE) fuzz FUZZTIME=5000x
