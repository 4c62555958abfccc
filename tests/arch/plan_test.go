package arch

import "regexp"

// module is the module's path.
const module = "github.com/akv2k8s/akv2k8s/"

// testOnly is the floor of packages that no shipped program imports.
const testOnly = -1

// rooms are all packages of src, by path below src, with their floor. Imports point down only; rooms on one floor are
// strangers.
func rooms() map[string]int {
	return map[string]int{
		"cmd/controller": 8, "cmd/envinjector": 8, "cmd/azure-keyvault-env": 8, "cmd/azure-keyvault-env-thin": 8, "cmd/generate": 8, "cmd/kubectl-akv2k8s": 8,
		// cli is the command line, which the generator of its pages needs too; each of its commands is a package.
		"cli": 7, "cli/cmdutil": 4, "cli/cluster": 5, "cli/command/convert": 6, "cli/command/doctor": 6, "cli/command/exec": 6, "cli/command/explain": 6,
		"cli/command/get": 6, "cli/command/refresh": 6,
		// explain reads what a pod or a resource depends on, for the command line.
		"cli/explain": 5, "cli/explain/admission": 4,
		// convert has the source formats; eso is one that needs a package.
		"convert": 5, "convert/eso": 4, "convert/conversion": 3,
		// doctor has findings and their report, which the programs' own checks use, too; below it are the packages of checks.
		"doctor": 1, "doctor/findinglog": 2, "doctor/cluster": 3, "doctor/platform": 4, "doctor/installation": 4, "doctor/admission": 4, "doctor/namespaces": 4,
		"doctor/object": 4, "doctor/azure": 4, "doctor/azurejob": 4, "doctor/checks": 5,
		// envinjector connects the servers of the env-injector.
		"envinjector": 6,
		// program is what the Kubernetes programs share: command line, flags, logger.
		"program":    5,
		"controller": 4, "webhook": 4, "webhook/webhooktls": 4, "broker": 4,
		// filesync is the injector in a container of its own.
		"injector": 5, "injector/filesync": 4,
		// vaultclient puts credential, adapter and the steps of a read together for the programs.
		"keyvault/vaultclient": 4,
		"keyvault/azure":       3, "keyvault/credential": 3, "keyvault/refresh": 3, "keyvault/serviceaccount": 3, "broker/client": 3, "webhook/ociimage": 3, "webhook/delivery": 3, "webhook/filescontainer": 3, "injector/akvsclient": 3, "injector/atomicdir": 3, "servingcert": 3,
		// statushash reads and writes the Secret of its key, store the outputs.
		"controller/statushash": 3, "controller/store": 3, "controller/state": 3, "controller/crdupgrade": 3, "controller/syncmetrics": 3, "controller/rollout": 3, "v1compat/authservice": 3, "v1compat/ca": 3, "v1compat": 3,
		// resolver is what broker and injector share: references become values.
		"resolver": 3,
		// trust and telemetry touch the machine (certificates, sockets), and every program needs them.
		"trust": 3, "telemetry": 3,
		// apiserver reads the addresses of the API server, which two ports and the reader of images need.
		"apiserver": 3,
		// iplimit serves the ports that every pod can reach.
		"iplimit": 3,
		// diagnosis is the table of what Azure and registries may answer.
		"diagnosis": 1,
		// ratelimit counts and waits; the steps of a read above it tell its errors apart.
		"keyvault/ratelimit": 1, "keyvault/breaker": 2, "keyvault/fallback": 2, "keyvault/cache": 2,
		// decodepool runs what decode does, for all who decode.
		"decodepool": 2,
		// fromapi asks decode which types of object there are.
		"recipe/fromapi": 3,
		"recipe/decode":  2, "controller/output": 2, "webhook/inject": 2, "webhook/podfiles": 2, "webhook/injected": 2, "webhook/review": 2, "webhook/podos": 1, "webhook/initcontainer": 1, "webhook/execcommand": 1,
		// keystore writes what certificate reads.
		"certificate/keystore": 2, "certificate": 1,
		"fairshare": 1, "recipe": 1, "recipe/transform": 1, "recipe/fileformat": 1, "envref": 1, "keyvault/cloud": 1, "keyvault/rule": 1, "chartvalues": 1, "rights": 1, "controller/schedule": 1,
		"controller/redactederror": 1, "v1compat/initcontainer": 1,
		"convert/manifest": 1, "convert/schema": 1,
		"api/v1alpha1": 0, "api/v1": 0, "api/v2alpha1": 0, "api/v2beta1": 0, "api/crd": 0, "keyvault": 0, "wire": 0, "fault": 0, "version": 0, "limits": 0, "logkey": 0,
		"cmd/azure-emulator": testOnly, "emulator": testOnly, "emulator/keyvault": testOnly, "emulator/entra": testOnly, "emulator/imds": testOnly,
		"emulator/acr": testOnly, "testkit/azuretest": testOnly, "testkit/fuzzbudget": testOnly, "testkit/clustertest": testOnly, "testkit/registrytest": testOnly, "v1compat/v1test": testOnly, "v1compat/cmd/v1-wrapper": testOnly,
	}
}

// neighbours are rooms of one floor that may import each other: the versions of the API are one room in several
// folders.
func neighbours(a, b string) bool {
	return len(a) > 4 && len(b) > 4 && a[:4] == "api/" && b[:4] == "api/"
}

// pureAbove are rooms above floor 2 that are as pure as those below.
func pureAbove() []string { return []string{"recipe/fromapi"} }

// stdlibOnly are rooms that import nothing but the standard library and rooms below.
func stdlibOnly() []string {
	return []string{"keyvault", "wire", "fault", "limits", "fairshare", "version", "recipe", "recipe/transform", "recipe/fileformat", "recipe/fromapi", "envref", "broker/client", "injector", "injector/akvsclient", "injector/atomicdir", "injector/filesync", "resolver",
		"keyvault/ratelimit", "keyvault/breaker", "keyvault/fallback", "keyvault/cache", "keyvault/refresh"}
}

// shipped are the programs that users install.
func shipped() []string {
	return []string{"src/cmd/controller", "src/cmd/envinjector", "src/cmd/azure-keyvault-env", "src/cmd/azure-keyvault-env-thin",
		"src/cmd/kubectl-akv2k8s"}
}

// frugality is what a program that runs in every pod may need.
type frugality struct {
	// size of the program, in bytes.
	size int64
	// prepared is what its packages may allocate before its main function, in bytes.
	prepared int
	// never is linked into it.
	never *regexp.Regexp
}

// injectors are the programs that run in pods. Most of what the first prepares is Azure's SDK and crypto.
func injectors() map[string]frugality {
	heavy := `^(k8s\.io|sigs\.k8s\.io)/|klog|spf13|go-containerregistry|^` + regexp.QuoteMeta(module) + `src/api`
	return map[string]frugality{
		// A part is for files of the formats PFX and JKS, which the auth service encodes for other pods.
		"src/cmd/azure-keyvault-env":      {11_400_000, 400_000, regexp.MustCompile(heavy)},
		"src/cmd/azure-keyvault-env-thin": {7_000_000, 200_000, regexp.MustCompile(heavy + `|[Aa]zure/|pkcs12|keystore|yaml`)},
	}
}

// walks are the walks of docs/architecture.md, by heading, with the most stops that each may have.
func walks() map[string]int {
	return map[string]int{"A resource, from watch to Secret": 15, "A reference, from admission to exec": 30}
}

// Budgets.
const (
	maxStatements = 40  // of a function
	maxWidth      = 120 // of a line, with tabs of four
	longLiteral   = 90  // characters of a string that may be alone on a line
	maxFile       = 400
	maxTestFile   = 800
	maxPackage    = 2000 // packages are cut by sense; this only catches one that has become a room for everything
	maxFiles      = 16
	maxParameters = 4
	maxMain       = 30
	minCoverage   = 90.0
	maxBareNames  = 12.0 // percent of the unexported functions
)
