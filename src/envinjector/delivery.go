package envinjector

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/discovery"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/webhook/delivery"
)

// newDeliveryChooser creates the chooser. If the program may do so, it watches the nodes, and looks for pods that a
// policy refused.
func (s Settings) newDeliveryChooser(ctx context.Context, mgr ctrl.Manager) (delivery.Chooser, error) {
	c := delivery.Chooser{Default: s.delivery}
	client, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return c, fmt.Errorf("creating a client for the version of the API server: %w", err)
	}
	c.APIServer = &delivery.ServerVersion{Read: client.ServerVersion, Clock: time.Now}
	if !s.watchNodes || !s.WatchAll {
		return c, nil
	}
	c.Denials = &delivery.Denials{Reader: mgr.GetAPIReader(), Clock: time.Now}
	c.Nodes = delivery.NewNodes()
	return c, c.Nodes.Watch(ctx, mgr.GetCache())
}
