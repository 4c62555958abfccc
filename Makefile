# Everything that one does in this repository. The work itself is done by Go programs under tests/.
.DEFAULT_GOAL := help
.PHONY: help demo demo-down check lint verify generate e2e long bench scale test cluster-up cluster-down load dev logs fuzz vulnerabilities soak package manifests release-dry-run site headlamp

help: ## show this
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use
demo: ## see it work on this machine, without Azure (CLUSTER=kind|current|local)
	@echo "compiling the demo (the first time this downloads modules and takes some minutes)"
	@go run ./tests/demo up
demo-down: ## remove every trace of it
	@go run ./tests/demo down

##@ Develop
check: ## no cluster: lint, generated files, the site, unit, contract, actor, script and architecture tests
	@go run ./tests/run check
lint: ## the linters, on the code and on the chart
	@go run ./tests/run lint
verify: ## are the generated files what make generate writes?
	@go run ./tests/run verify
generate: ## write the generated files
	@go run ./tests/run generate
headlamp: ## the plugin of Headlamp: linter, types, tests and build, into plugins/headlamp/dist
	@go run ./tests/run headlamp
site: ## the documentation's site, into dist/site (SITE_BASE=/v2.0/: below that path)
	@go run ./tests/run site
cluster-up: ## a local Kubernetes, built from source (CLUSTER=kind|current|local, KUBERNETES=1.30|1.37)
	@go run ./tests/cluster up
cluster-down: ## remove it and every trace
	@go run ./tests/cluster down
load: ## build the images and load them into the cluster
	@go run ./tests/cluster load
dev: ## build a component and replace it in the running demo (COMPONENT=controller|env-injector|env)
	@go run ./tests/demo reload $(or $(COMPONENT),controller)
logs: ## follow the logs of both components in the running demo
	@go run ./tests/demo logs

##@ Long
test: ## every test: check, e2e, terratest and chart-testing, and one long suite (SUITE=all: all of them; HELM=3|4)
	@echo "compiling the tests' runner (the first time this downloads modules)"
	@go run ./tests/run test
e2e: ## the product on a real cluster
	@go run ./tests/run e2e
long: ## one long suite (SUITE=faults|auth-matrix|auth-processes|pod-identity|upgrade|examples|flood|bench|scale|release|site|mixed-nodes|fips|kubernetes-1.30|packaging|eso|quiz|headlamp|all)
	@go run ./tests/run long
bench: ## figures: times, memory and calls of the vault, each against its goal
	@SUITE=bench go run ./tests/run long
scale: ## figures of a large installation: 5,000 resources, 10,000 pods, vaults that throttle
	@SUITE=scale go run ./tests/run long
soak: ## ten minutes of seeded faults between reader and vaults, and ten on a real cluster (SOAK=10m SOAK_SEED=7)
	@SOAK=$(or $(SOAK),10m) go test -count=1 -timeout=3h -v -run '^TestSoak$$' ./src/keyvault/vaultclient
	@SOAK=$(or $(SOAK),10m) go test -tags=cluster -count=1 -timeout=3h -v -run '^TestProduct$$/^alone$$/^every_fault' ./tests/e2e
fuzz: ## each fuzz target for 30 seconds (FUZZTIME=30s), with the executions of each
	@go run ./tests/run fuzz

vulnerabilities: ## known vulnerabilities in what the programs call, by Go's database (VULNDB=file:///FOLDER: a copy of it)
	@go run ./tests/run vulnerabilities

##@ Release
package: ## the images, the chart, the command line, SPDX documents and licences, into dist
	@go run ./tests/run package
manifests: ## the chart as static manifests for users without Helm, into dist/manifests
	@go run ./tests/run manifests
release-dry-run: ## everything that a release does but pushing and signing, into dist
	@go run ./tests/run release-dry-run
