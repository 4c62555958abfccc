package controller

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/controller/output"
	"github.com/akv2k8s/akv2k8s/src/controller/store"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// After a crash, another replica leads within 20 s, even on a busy machine: it reads the Lease every 2 s and takes it
// when it has expired. A leader that can't renew its Lease stops before that.
const (
	leaseDuration = 12 * time.Second
	renewDeadline = 8 * time.Second
)

// ManagerConfig says what the manager of a controller watches.
type ManagerConfig struct {
	// Namespace is the one of the installation and Fullname its name; both are in the name of the Lease.
	Namespace, Fullname string
	// WatchAll watches all namespaces instead of Namespace.
	WatchAll bool
	// ObjectLabels is a selector of the resources, as text; empty selects all.
	ObjectLabels string
}

// AddManagerOptions adds to the options of a manager the watched types, which are the resources and the metadata of the
// outputs, and the leader election.
func AddManagerOptions(options *ctrl.Options, c ManagerConfig) error {
	selector, err := labels.Parse(c.ObjectLabels)
	if err != nil {
		return fmt.Errorf("parsing OBJECT_LABELS: %w", err)
	}
	lease, renew := leaseDuration, renewDeadline
	options.LeaderElection, options.LeaderElectionReleaseOnCancel = true, true
	options.LeaderElectionID, options.LeaderElectionNamespace = c.Fullname+"-controller", c.Namespace
	options.LeaseDuration, options.RenewDeadline = &lease, &renew
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{wire.LabelManaged: "true"}),
		Transform: store.StripMetadata}
	options.Cache.ByObject = map[client.Object]cache.ByObject{&v2beta1.AzureKeyVaultSecret{}: {Label: selector}}
	for _, kind := range output.Kinds() {
		options.Cache.ByObject[kind.NewObject()] = ours
	}
	if !c.WatchAll {
		options.Cache.DefaultNamespaces = map[string]cache.Config{c.Namespace: {}}
	}
	return nil
}
