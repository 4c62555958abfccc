package broker

import (
	"net"
	"net/http"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// nameReplica tells the client at which address it reached this replica. The containers of a pod whose references were
// checked here ask here for their values, which are known here and not to the other replicas.
func nameReplica(w http.ResponseWriter, r *http.Request) {
	if address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		w.Header().Set(wire.HeaderReplica, address.String())
	}
}
