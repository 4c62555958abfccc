//go:build cluster

package e2e

import (
	"maps"
	"testing"
)

// TestProduct runs every scenario. Those that disturb the whole cluster run alone, the others together, and in the end
// nothing secret may have leaked anywhere.
func TestProduct(t *testing.T) {
	t.Run("alone", func(t *testing.T) {
		t.Run("azure away: the Secret stays, and follows again after", azureAway)
		t.Run("a pod without references never reaches the webhook", plainPodsDoNotCall)
		t.Run("nothing is written when nothing changed", nothingIsWritten)
		t.Run("the doctor has no complaint about a healthy installation", healthyInstallation)
		t.Run("outputs of akv2k8s 1.8 are taken over without a gap", v1Outputs)
		t.Run("one look at the vault stays one", oneLook)
		t.Run("a vault that does not answer keeps nobody else back", slowVault)
		t.Run("one namespace, and the resources with a label", oneNamespace)
		// A flood from the same address, which port-forwarding has, would be refused for both.
		t.Run("both replicas serve under one CA", replicasShareTheCA)
		t.Run("with every replica down nobody waits but who refers", everyReplicaDown)
		t.Run("a webhook without its CA is repaired", authorityIsRepaired)
		// The API server works for seconds on a pod of 10,000 variables.
		t.Run("many variables and large values", manyVariables)
		t.Run("every fault of vaults, with pods coming and going", everyFault)
		t.Run("a helm upgrade keeps what the product made for itself", upgradeKeeps)
	})
	t.Run("together", func(t *testing.T) {
		scenarios := map[string]func(*testing.T){
			"resources are accepted, or refused by field":             resources,
			"a secret is synced, and follows the vault":               secretIsSynced,
			"an object of several values":                             severalValues,
			"every type of object becomes what is asked for":          everyObject,
			"outputs live: shared, renamed, of another type":          outputsLive,
			"conditions and metrics say what is old, and what ends":   conditionsAndMetrics,
			"secrets are found by name and tag":                       searches,
			"workloads restart when a value changes":                  workloadsRestart,
			"bad input is told, and nothing is lost by it":            badInput,
			"an edited or deleted Secret is repaired":                 secretIsRepaired,
			"a failure keeps the last Secret and says why":            failuresKeepTheSecret,
			"a Secret of somebody else is left alone":                 foreignSecret,
			"an adopted Secret keeps what others have in it":          adoptedSecrets,
			"a pod gets its values, and nothing is made of them":      podGetsValues,
			"the program keeps its exit code, signals, user and args": programIsUntouched,
			"a program sees the same with the injector and without":   sameProcess,
			"a terminal is the program's own":                         terminal,
			"pods in a user namespace":                                userNamespace,
			"a reference to what comes later is waited for":           absentIsWaitedFor,
			"a reference to another namespace is refused":             otherNamespace,
			"what cannot work is refused at admission":                refusedAtAdmission,
			"references come from ConfigMaps, Secrets and the pod":    referencesFromSources,
			"references that nothing injects are warned about":        referencesAreWarnedAbout,
			"what the kubelet would expand is expanded with values":   expansionWithValues,
			"what an image runs is found out in its registry":         commandsOfImages,
			"ephemeral containers of injected pods":                   ephemeralContainers,
			"a rollout to pods without values stalls, and goes on":    rolloutsStall,
			"a StatefulSet stalls at its last pod, and goes on":       statefulSetStalls,
			"Jobs whose values come later, or never":                  jobsWait,
			"describe shows why a container could not start":          terminationMessages,
			"the injector arrives in an image volume":                 imageVolumes,
			"a policy that denies image volumes stops no rollout":     imageVolumesAreDenied,
			"the kubelet sets the values from env files":              envFiles,
			"probes and hooks get values where the pod asks for it":   probesAndHooks,
			"files in pods follow the vault":                          podFiles,
			"the command line explains, refreshes and finds faults":   commandLine,
			"files that are written once, and what they wait for":     filesOnce,
			"kubectl exec gets values through the injector":           execInPods,
			"our startup probe, whatever the pod is like":             startedPods,
			"every kind of workload":                                  workloads,
			"what is rotated or revoked is so when a pod starts":      valuesAreFresh,
			"the API server gives the pods of the unit tests":         goldens,
			"only a pod's own token gets only its own references":     attacks,
			"a pod that floods the ports keeps no pod from starting":  flood,
			"every image trusts the public roots of Azure":            publicRoots,
			"programs say which cryptography they use":                cryptographyIsTold,
		}
		maps.Copy(scenarios, v1Scenarios())
		for name, scenario := range scenarios {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				scenario(t)
			})
		}
	})
	t.Run("no secret value and no token leaked", nothingLeaked)
}
